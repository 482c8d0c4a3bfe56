"""The guest's state folded from events: what it follows, and when it knows that it does not know."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from host_client.mirror import MAX_QUESTIONS, Mirror
from taskd.model.agent import Abilities, Usage
from taskd.model.events import (
    EVENTS,
    AgentEnd,
    AgentOutput,
    AgentQuestion,
    AgentQuestionClosed,
    DriverChanged,
    ModelChanged,
    TaskBootstrapState,
    TaskError,
    TaskReady,
    TaskStopped,
    TaskSwitchStarted,
    TurnStarted,
)
from tests.host_client.guest_words import state_of, task_view


def mirror_of(*views, active=None, seq=10):
    mirror = Mirror()
    mirror.reset(state_of(*views, active=active, seq=seq))
    return mirror


def tell(mirror, task_id, *events):
    for event in events:
        mirror.fold(task_id, event, seq=mirror.seq + 1, at="now")


def test_a_new_mirror_knows_that_it_knows_nothing():
    mirror = Mirror()

    assert mirror.stale
    mirror.reset(state_of(task_view("t1")))
    assert mirror.stale is None
    assert mirror.task("t1").state == "ready"


def test_a_switch_makes_the_old_task_idle_at_once_and_the_new_one_active_when_it_is_ready():
    mirror = mirror_of(task_view("t1", state="active"), task_view("t2"), active="t1")

    tell(mirror, "t2", TaskSwitchStarted())
    assert (mirror.active_task_id, mirror.switching_to, mirror.task("t1").state) == (None, "t2", "idle")

    tell(mirror, "t2", TaskReady(incarnation=1))
    assert (mirror.active_task_id, mirror.switching_to, mirror.task("t2").state) == ("t2", None, "active")
    assert mirror.stale is None


def test_a_switch_to_the_active_task_leaves_it_active():
    mirror = mirror_of(task_view("t1", state="active"), active="t1")

    tell(mirror, "t1", TaskSwitchStarted())
    assert (mirror.active_task_id, mirror.task("t1").state) == ("t1", "active")
    tell(mirror, "t1", TaskReady(incarnation=1))
    assert (mirror.active_task_id, mirror.switching_to) == ("t1", None)


def test_a_turn_is_in_flight_from_its_start_to_its_end_and_is_counted():
    mirror = mirror_of(task_view("t1", state="active", usage=Usage(total_tokens=5)), active="t1")

    tell(mirror, "t1", TurnStarted(turn_id="u1", prompt_id="p1", incarnation=1))
    assert (mirror.task("t1").prompt_in_flight, mirror.task("t1").turn_id) == (True, "u1")

    usage = Usage(total_tokens=7)
    tell(mirror, "t1", AgentEnd(turn_id="u1", prompt_id="p1", turn_number=1, stop_reason="stop", usage=usage))
    view = mirror.task("t1")
    assert (view.prompt_in_flight, view.turn_id, view.turn_count, view.usage.total_tokens) == (False, None, 1, 12)


def test_the_end_of_an_older_turn_does_not_end_the_running_one():
    mirror = mirror_of(task_view("t1", state="active", turn_id="u2", prompt_in_flight=True), active="t1")

    tell(mirror, "t1", AgentEnd(turn_id="u1", prompt_id="p1", turn_number=1, stop_reason="stop", usage=Usage()))

    assert (mirror.task("t1").turn_id, mirror.task("t1").prompt_in_flight) == ("u2", True)


def test_questions_come_and_go():
    mirror = mirror_of(task_view("t1", state="active"), active="t1")

    tell(mirror, "t1", AgentQuestion(request_id="q1", kind="confirm", title="Sure?", turn_id="u1", options=("y",)))
    question = mirror.task("t1").questions[0]
    assert (question.request_id, question.title, question.asked_at, question.options) == ("q1", "Sure?", "now", ("y",))

    tell(mirror, "t1", AgentQuestion(request_id="q1", kind="confirm", title="Sure now?"))
    assert [one.title for one in mirror.task("t1").questions] == ["Sure now?"]

    tell(mirror, "t1", AgentQuestionClosed(request_id="q1", outcome="answered"))
    assert mirror.task("t1").questions == ()


def test_questions_of_a_task_are_bounded():
    mirror = mirror_of(task_view("t1"))

    for number in range(MAX_QUESTIONS + 5):
        tell(mirror, "t1", AgentQuestion(request_id=f"q{number}", kind="input", title="?"))

    assert len(mirror.task("t1").questions) == MAX_QUESTIONS


def test_an_error_ends_all_that_ran_and_clears_the_active_task():
    mirror = mirror_of(task_view("t1", state="active", turn_id="u1", prompt_in_flight=True), active="t1")
    tell(mirror, "t1", AgentQuestion(request_id="q1", kind="input", title="?", turn_id="u1"))

    tell(mirror, "t1", TaskError(code="PI_PROCESS_DEAD", message="exit code 1", retryable=True, incarnation=1))

    view = mirror.task("t1")
    assert (view.state, view.last_error, view.questions) == ("errored", "exit code 1", ())
    assert (view.prompt_in_flight, view.turn_id, mirror.active_task_id) == (False, None, None)


def test_what_an_older_incarnation_says_is_ignored():
    mirror = mirror_of(task_view("t1", state="active", incarnation=3), active="t1")

    tell(
        mirror,
        "t1",
        TaskError(code="PI_PROCESS_DEAD", message="gone", retryable=True, incarnation=2),
        TaskBootstrapState(status="errored", incarnation=2),
        TurnStarted(turn_id="u1", prompt_id="p1", incarnation=2),
    )

    assert mirror.task("t1") == task_view("t1", state="active", incarnation=3)
    assert mirror.active_task_id == "t1"


def test_a_stopped_task_is_stopped():
    mirror = mirror_of(task_view("t1", state="active"), active="t1")

    tell(mirror, "t1", TaskStopped())

    assert (mirror.task("t1").state, mirror.active_task_id) == ("stopped", None)


def test_a_task_is_creating_until_its_agent_has_answered_and_then_the_rest_is_asked_for():
    mirror = mirror_of(task_view("t1", state="stopped"))

    tell(mirror, "t1", TaskBootstrapState(status="pending", incarnation=2))
    view = mirror.task("t1")
    assert (view.state, view.bootstrap_status, view.incarnation, view.bootstrap_updated_at) == (
        "creating",
        "pending",
        2,
        "now",
    )
    assert mirror.stale is None

    tell(mirror, "t1", TaskBootstrapState(status="ready", incarnation=2))
    assert mirror.task("t1").state == "ready"
    assert "abilities" in mirror.stale


def test_a_task_that_could_not_be_started_is_errored():
    mirror = mirror_of(task_view("t1", state="creating"))

    tell(mirror, "t1", TaskBootstrapState(status="errored", error="no such program", incarnation=1))

    view = mirror.task("t1")
    assert (view.state, view.last_error, view.bootstrap_error) == ("errored", "no such program", "no such program")


def test_models_and_the_driver_are_followed():
    mirror = mirror_of(task_view("t1", abilities=Abilities(images=True)))

    tell(mirror, "t1", ModelChanged(provider="mock", model="large"))
    tell(mirror, None, DriverChanged(held=True, channel=2))

    view = mirror.task("t1")
    assert (view.provider, view.model, view.abilities.images, mirror.driver_held) == ("mock", "large", True, True)


def test_a_hole_in_the_numbers_makes_it_stale_and_says_which():
    mirror = mirror_of(task_view("t1"), seq=10)

    mirror.fold("t1", AgentOutput(chunk="x"), seq=14)

    assert mirror.stale == "events 11 to 13 were not heard"
    mirror.fold("t1", AgentOutput(chunk="x"), seq=20)
    assert mirror.stale == "events 11 to 13 were not heard", "the first reason is the one to know"


def test_a_late_event_changes_nothing():
    mirror = mirror_of(task_view("t1", state="active"), active="t1", seq=10)

    mirror.fold("t1", TaskStopped(), seq=10)
    mirror.fold("t1", TaskStopped(), seq=3)

    assert (mirror.task("t1").state, mirror.seq, mirror.stale) == ("active", 10, None)


def test_an_unknown_task_makes_it_stale():
    mirror = mirror_of(task_view("t1"))

    tell(mirror, "t9", TaskReady(incarnation=1))

    assert "t9" in mirror.stale
    assert mirror.task("t9") is None
    assert mirror.active_task_id == "t9", "which task is active is known all the same"


def test_an_event_of_an_unknown_kind_counts_and_nothing_more():
    mirror = mirror_of(task_view("t1"), seq=10)

    mirror.fold("t1", None, seq=11)

    assert (mirror.seq, mirror.stale) == (11, None)


def test_events_without_numbers_are_folded_as_they_come():
    mirror = mirror_of(task_view("t1", state="active"), active="t1", seq=10)

    mirror.fold("t1", TaskStopped())

    assert (mirror.task("t1").state, mirror.seq, mirror.stale) == ("stopped", 10, None)


WORDS = st.sampled_from(["u1", "u2", "q1", "pending", "ready", "errored", "gone", ""])
NUMBERS = st.integers(0, 3)
FIELDS = {
    str: WORDS,
    int: NUMBERS,
    int | None: st.none() | NUMBERS,
    str | None: st.none() | WORDS,
    float: st.just(1.0),
    bool: st.booleans(),
    Usage: st.just(Usage(total_tokens=1)),
    Abilities | None: st.none(),
    tuple[str, ...]: st.just(()),
}


def any_event(kind):
    from typing import get_type_hints

    known = {
        name: FIELDS[hint]
        for name, hint in get_type_hints(kind).items()
        if name in kind.__struct_fields__ and hint in FIELDS
    }
    return st.builds(kind, **known)


FOLDABLE = [kind for kind in EVENTS.values() if kind.name not in ("tool_started", "channel_closing")]
ANY_EVENT = st.one_of(st.none(), *(any_event(kind) for kind in FOLDABLE))


@given(
    st.lists(
        st.tuples(st.sampled_from(["t1", "t2", "t9", None]), ANY_EVENT, st.none() | st.integers(0, 40)), max_size=40
    )
)
def test_no_order_of_events_raises_and_at_most_the_active_task_is_active(heard):
    mirror = mirror_of(task_view("t1", state="active", incarnation=2), task_view("t2"), active="t1")
    last = mirror.seq
    for task_id, event, seq in heard:
        before = dict(mirror.tasks)
        mirror.fold(task_id, event, seq=seq)

        if seq is not None and seq <= last:
            assert mirror.tasks == before, "a late event changes nothing"
        elif seq is not None and seq > last + 1:
            assert mirror.stale
        last = mirror.seq
        active = [view.task_id for view in mirror.tasks.values() if view.state == "active"]
        known_active = mirror.active_task_id if mirror.active_task_id in mirror.tasks else None
        assert active == ([known_active] if known_active else [])
        assert mirror.active_task_id == known_active or mirror.stale
        assert set(mirror.tasks) == {"t1", "t2"}


@given(st.lists(ANY_EVENT, max_size=20))
def test_an_unknown_tasks_events_change_no_known_one(events):
    mirror = mirror_of(task_view("t1", state="active"), active="t1")
    for event in events:
        mirror.fold("t9", event)

    assert set(mirror.tasks) == {"t1"}
    assert replace(mirror.task("t1"), state="active") == task_view("t1", state="active")
    assert mirror.task("t1").state in ("active", "idle"), "another may have been selected"
