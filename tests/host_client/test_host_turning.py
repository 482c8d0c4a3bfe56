"""One turn as a pure state machine: which events are its own, what ends it, and what it came to."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_client import turning
from host_client.errors import ConnectionLost, TurnFailed
from host_client.turning import Phase, TurnState, text_of
from taskd.model.agent import Block, Usage
from taskd.model.calls import PromptResult
from taskd.model.events import (
    AgentEnd,
    AgentOutput,
    AgentQuestion,
    TaskError,
    TaskReady,
    TaskStopped,
    ToolEnded,
    ToolStarted,
    TurnStarted,
    UsageReported,
)
from taskd.model.records import Message, Turn

ACCEPTED = PromptResult(accepted=True, task_id="t1", prompt_id="p1", turn_id="u1")
TOOL = ToolStarted(turn_id="u1", tool_call_id="c1", tool="bash", args=msgspec.Raw(b"{}"))


def running():
    state = TurnState("p1", "t1", 1)
    state.accept(ACCEPTED)
    return state


def end(turn_id="u1", **changes):
    fields = {"turn_id": turn_id, "prompt_id": "p1", "turn_number": 3, "stop_reason": "stop", "usage": Usage(output=9)}
    return AgentEnd(**(fields | changes))


def error(incarnation=1, turn_id="u1"):
    return TaskError(
        code="PI_PROCESS_DEAD", message="exit code 1", retryable=True, incarnation=incarnation, turn_id=turn_id
    )


def record(*texts):
    messages = [Message("user", (Block("text", "Hi"),))]
    messages += [Message("assistant", (Block("thinking", "hm"), Block("text", text))) for text in texts]
    return Turn(
        turn_id="u1",
        number=3,
        prompt_id="p1",
        started_at="",
        ended_at="",
        stop_reason="stop",
        usage=Usage(output=9),
        messages=tuple(messages),
    )


def test_it_collects_the_text_and_ends_in_a_result():
    state = running()
    shown = [
        state.hear("t1", AgentOutput(chunk="Hel")),
        state.hear("t1", AgentOutput(chunk="hm", kind="thinking")),
        state.hear("t1", AgentOutput(chunk="lo")),
        state.hear("t1", end(save_ms=2.5)),
    ]

    assert [item and item.chunk for item in shown] == ["Hel", "hm", "lo", None]
    result = state.result
    assert (result.text, result.turn_id, result.prompt_id, result.turn_number) == ("Hello", "u1", "p1", 3)
    assert (result.stop_reason, result.usage.output, result.save_ms, result.complete) == ("stop", 9, 2.5, True)


def test_messages_of_one_turn_are_set_apart():
    state = running()
    for event in (
        AgentOutput(chunk="I look."),
        TOOL,
        UsageReported(turn_id="u1", usage=Usage(), turn_usage=Usage()),
        AgentOutput(chunk="It is "),
        AgentOutput(chunk="empty."),
        UsageReported(turn_id="u1", usage=Usage(), turn_usage=Usage()),
    ):
        assert state.hear("t1", event) is event

    assert state.text == "I look.\n\nIt is empty."


def test_events_that_arrive_before_the_answer_are_known_by_the_prompt_id():
    state = TurnState("p1", None)
    state.hear("t1", AgentOutput(chunk="of the turn before"))
    state.hear("t1", TurnStarted(turn_id="u0", prompt_id="p0", incarnation=1))
    state.hear("t1", TurnStarted(turn_id="u1", prompt_id="p1", incarnation=1))
    state.hear("t1", AgentOutput(chunk="mine"))
    state.hear("t1", end())
    state.accept(ACCEPTED)

    assert (state.phase, state.result.text, state.result.task_id) == (Phase.ENDED, "mine", "t1")


def test_other_tasks_and_other_turns_are_nothing_to_it():
    state = running()
    heard = [
        state.hear("t2", AgentOutput(chunk="x")),
        state.hear("t1", ToolEnded(turn_id="u0", tool_call_id="c1", tool="bash", is_error=False)),
        state.hear("t1", end(turn_id="u0")),
        state.hear("t2", error()),
        state.hear("t1", TaskReady(incarnation=1)),
    ]

    assert heard == [None] * 5
    assert (state.phase, state.text) == (Phase.RUNNING, "")


def test_a_question_without_a_turn_is_shown_too():
    question = AgentQuestion(request_id="q1", kind="confirm", title="Sure?")

    assert running().hear("t1", question) is question


@pytest.mark.parametrize("turn_id", ["u1", None])
def test_an_error_of_its_task_fails_it_with_the_code(turn_id):
    state = running()
    state.hear("t1", error(turn_id=turn_id))
    state.hear("t1", end())

    assert isinstance(state.error, TurnFailed)
    assert (state.error.code, state.error.turn_id, state.error.task_id) == ("PI_PROCESS_DEAD", "u1", "t1")
    assert (state.phase, state.result) == (Phase.FAILED, None)


def test_an_error_of_an_older_incarnation_does_not_fail_it():
    state = TurnState("p1", "t1", 3)
    state.accept(ACCEPTED)
    state.hear("t1", error(incarnation=2))

    assert state.phase is Phase.RUNNING


def test_a_stop_without_an_end_fails_it():
    state = running()
    state.hear("t1", TaskStopped())

    assert state.error.code == "TASK_NOT_READY"


def test_what_the_session_says_ends_a_turn_whose_end_was_missed():
    state = running()
    state.hear("t1", AgentOutput(chunk="Half an an"))
    state.recover(record("I look.", "It is empty."))
    state.hear("t1", end())

    assert (state.result.text, state.result.turn_number, state.result.complete) == ("I look.\n\nIt is empty.", 3, True)


def test_a_gap_makes_the_text_incomplete_until_the_session_has_said_it():
    state = running()
    state.gap = True
    state.hear("t1", AgentOutput(chunk="swer"))
    state.hear("t1", end())
    assert (state.result.text, state.result.complete) == ("swer", False)

    state.complete(record("Answer"))
    assert (state.result.text, state.result.complete) == ("Answer", True)


def test_the_text_is_bounded_and_says_so(monkeypatch):
    monkeypatch.setattr(turning, "MAX_TEXT_CHARS", 5)
    state = running()
    for chunk in ("abc", "def", "ghi"):
        assert state.hear("t1", AgentOutput(chunk=chunk)).chunk == chunk
    state.hear("t1", end())

    assert (state.result.text, state.result.complete) == ("abcde", False)


def test_the_text_of_a_record_is_what_the_agent_said_alone():
    assert text_of(record("One.", "", "Two.")) == "One.\n\nTwo."


EVENTS = st.one_of(
    st.builds(AgentOutput, chunk=st.sampled_from(["a", "b"]), kind=st.sampled_from(["text", "thinking"])),
    st.builds(end, st.sampled_from(["u0", "u1"])),
    st.builds(error, st.integers(0, 3), st.sampled_from(["u0", "u1", None])),
    st.builds(TurnStarted, turn_id=st.just("u1"), prompt_id=st.sampled_from(["p0", "p1"]), incarnation=st.just(1)),
    st.just(TaskStopped()),
    st.just(TOOL),
)
STEPS = st.one_of(
    st.tuples(st.just("hear"), st.sampled_from(["t1", "t2", None]), EVENTS),
    st.tuples(st.just("accept"), st.just(ACCEPTED)),
    st.tuples(st.just("recover"), st.just(record("x"))),
    st.tuples(st.just("fail"), st.just(ConnectionLost("gone"))),
    st.tuples(st.just("rebase"), st.integers(0, 3)),
)


@given(st.lists(STEPS, max_size=30))
def test_no_order_of_things_raises_and_a_finished_turn_never_changes(steps):
    state = TurnState("p1", "t1", 1)
    finished = None
    for name, *args in steps:
        shown = getattr(state, name)(*args)
        if finished is not None:
            assert (state.phase, state.result, state.error) == finished
            assert shown is None
        elif state.finished:
            finished = (state.phase, state.result, state.error)

    assert (state.result is not None) == (state.phase is Phase.ENDED)
    assert (state.error is not None) == (state.phase is Phase.FAILED)
