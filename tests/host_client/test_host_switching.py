"""One switch as a pure state machine: what ends it, and what does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_client.errors import ConnectionLost, GuestError, SwitchFailed, SwitchSuperseded, SwitchTimeout
from host_client.switching import OPEN, Phase, Switch
from taskd.model.calls import StateResult
from taskd.model.events import (
    AgentOutput,
    TaskBootstrapState,
    TaskError,
    TaskReady,
    TaskStopped,
    TaskSwitchStarted,
)
from tests.host_client.guest_words import state_of, task_view


def error(incarnation=1, code="PI_PROCESS_DEAD"):
    return TaskError(code=code, message="gone", retryable=True, incarnation=incarnation)


def started(incarnation=1):
    switch = Switch("t1", 5.0, incarnation)
    switch.acknowledge()
    switch.hear("t1", TaskSwitchStarted())
    return switch


def test_ack_started_ready_is_the_way():
    switch = Switch("t1", 5.0, 1)
    phases = [switch.phase]
    switch.acknowledge()
    phases.append(switch.phase)
    switch.hear("t1", TaskSwitchStarted())
    phases.append(switch.phase)
    switch.hear("t1", TaskReady(incarnation=2))
    phases.append(switch.phase)

    assert phases == [Phase.ASKED, Phase.ACKED, Phase.STARTED, Phase.READY]
    outcome = switch.outcome(0.25)
    assert (outcome.task_id, outcome.incarnation, outcome.seconds) == ("t1", 2, 0.25)


def test_ready_before_the_acknowledgement_belongs_to_an_older_switch():
    switch = Switch("t1", 5.0, 1)
    switch.hear("t1", TaskSwitchStarted())
    switch.hear("t1", TaskReady(incarnation=1))

    assert switch.phase is Phase.ASKED


def test_the_deadline_ends_it_and_what_comes_later_changes_nothing():
    switch = started()
    switch.expire()
    switch.hear("t1", TaskReady(incarnation=1))

    assert switch.phase is Phase.TIMED_OUT
    with pytest.raises(SwitchTimeout) as caught:
        switch.outcome()
    assert (caught.value.task_id, caught.value.seconds, caught.value.code) == ("t1", 5.0, "SWITCH_TIMEOUT")
    assert not caught.value.by_guest


def test_a_deadline_after_ready_changes_nothing():
    switch = started()
    switch.hear("t1", TaskReady(incarnation=1))
    switch.expire()

    assert switch.outcome().task_id == "t1"


def test_the_start_of_another_task_supersedes_it():
    switch = started()
    switch.hear("t2", TaskSwitchStarted())

    with pytest.raises(SwitchSuperseded) as caught:
        switch.outcome()
    assert (caught.value.task_id, caught.value.by) == ("t1", "t2")


def test_the_late_start_of_an_older_switch_does_not_supersede_it():
    switch = Switch("t1", 5.0, 1)
    switch.acknowledge()
    switch.hear("t2", TaskSwitchStarted())
    switch.hear("t2", TaskReady(incarnation=1))

    assert switch.phase is Phase.ACKED


def test_the_end_of_its_task_ends_it_with_the_guests_code():
    switch = started()
    switch.hear("t1", error())

    with pytest.raises(SwitchFailed) as caught:
        switch.outcome()
    assert (caught.value.code, caught.value.retryable) == ("PI_PROCESS_DEAD", True)


def test_what_an_older_incarnation_says_is_ignored():
    switch = started(incarnation=3)
    switch.hear("t1", error(incarnation=2))
    switch.hear("t1", TaskReady(incarnation=2))

    assert switch.phase is Phase.STARTED


def test_a_new_incarnation_makes_the_one_before_it_old():
    switch = started(incarnation=1)
    switch.hear("t1", TaskBootstrapState(status="pending", incarnation=2))
    switch.hear("t1", TaskReady(incarnation=1))

    assert switch.phase is Phase.STARTED


def test_a_stop_of_its_task_ends_it():
    switch = started()
    switch.hear("t1", TaskStopped())

    with pytest.raises(SwitchFailed, match="stopped"):
        switch.outcome()


def test_other_tasks_and_other_events_are_nothing_to_it():
    switch = started()
    switch.hear("t2", error())
    switch.hear("t2", TaskStopped())
    switch.hear("t1", AgentOutput(chunk="x"))
    switch.hear(None, TaskSwitchStarted())

    assert switch.phase is Phase.STARTED


@pytest.mark.parametrize("way", ["event", "refusal"])
def test_the_guests_own_time_limit_reads_as_a_timeout_too(way):
    switch = started()
    if way == "event":
        switch.hear("t1", error(code="SWITCH_TIMEOUT"))
    else:
        switch.refuse(GuestError("SWITCH_TIMEOUT", "no sign of life"))

    with pytest.raises(SwitchTimeout) as caught:
        switch.outcome()
    assert caught.value.by_guest


def test_a_refusal_is_raised_as_it_is():
    switch = Switch("t1", 5.0)
    switch.refuse(GuestError("TASK_NOT_FOUND", "no such task"))

    with pytest.raises(GuestError) as caught:
        switch.outcome()
    assert caught.value.code == "TASK_NOT_FOUND"


def test_after_a_reconnect_the_state_tells_that_it_is_done():
    switch = started(incarnation=5)
    switch.see(state_of(task_view("t1", state="active", incarnation=1), active="t1"))

    assert switch.outcome().incarnation == 1


@pytest.mark.parametrize(
    ("views", "text"),
    [((), "ended during"), ((task_view("t1", state="errored", last_error="exit code 1"),), "exit code 1")],
)
def test_after_a_reconnect_the_state_tells_that_it_cannot_be_done(views, text):
    switch = started()
    switch.see(state_of(*views))

    with pytest.raises(SwitchFailed, match=text):
        switch.outcome()


def test_after_a_reconnect_it_goes_on_when_its_task_is_not_active_yet():
    switch = started()
    switch.see(state_of(task_view("t1", state="idle", incarnation=1)))
    assert switch.phase is Phase.STARTED

    switch.hear("t1", TaskReady(incarnation=1))
    assert switch.phase is Phase.READY


INCARNATIONS = st.integers(0, 3)
EVENTS = st.one_of(
    st.just(TaskSwitchStarted()),
    st.just(TaskStopped()),
    st.just(AgentOutput(chunk="x")),
    st.builds(TaskReady, incarnation=INCARNATIONS),
    st.builds(error, INCARNATIONS, st.sampled_from(["PI_PROCESS_DEAD", "SWITCH_TIMEOUT", "NEW_CODE"])),
    st.builds(TaskBootstrapState, status=st.sampled_from(["pending", "ready", "errored"]), incarnation=INCARNATIONS),
)
TASKS = st.sampled_from(["t1", "t2", None])
STATES = st.builds(
    lambda states, active: StateResult(
        active_task_id=active, tasks=tuple(task_view(id, state=state) for id, state in states.items()), seq=1
    ),
    st.dictionaries(st.sampled_from(["t1", "t2"]), st.sampled_from(["ready", "active", "errored", "stopped"])),
    TASKS,
)
STEPS = st.one_of(
    st.tuples(st.just("hear"), TASKS, EVENTS),
    st.tuples(st.just("see"), STATES),
    st.tuples(st.just("acknowledge")),
    st.tuples(st.just("expire")),
    st.tuples(st.just("refuse"), st.just(GuestError("TASK_NOT_READY", "no"))),
    st.tuples(st.just("lose"), st.just(ConnectionLost("gone"))),
)


@given(st.lists(STEPS, max_size=30))
def test_no_order_of_things_raises_and_a_finished_switch_never_changes(steps):
    switch = Switch("t1", 5.0, 1)
    end = None
    for name, *args in steps:
        getattr(switch, name)(*args)
        if end is not None:
            assert (switch.phase, switch.error) == end
        elif switch.finished:
            end = (switch.phase, switch.error)

    assert switch.finished == (switch.phase not in OPEN)
    assert (switch.error is None) == (switch.phase in OPEN or switch.phase is Phase.READY)


@given(st.lists(st.tuples(TASKS, EVENTS), max_size=30))
def test_only_a_ready_of_this_task_and_a_live_incarnation_makes_it_ready(heard):
    switch = started(incarnation=2)
    for task_id, event in heard:
        switch.hear(task_id, event)

    if switch.phase is Phase.READY:
        readies = [event.incarnation for task_id, event in heard if task_id == "t1" and isinstance(event, TaskReady)]
        assert max(readies) >= 2
