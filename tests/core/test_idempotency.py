import pytest

from taskd.core.stimuli import CallFinished
from taskd.model import agent, calls
from taskd.model.ids import CallId
from taskd.model.limits import Limits
from tests.kit.playbook import ALL, Playbook


@pytest.fixture
def play():
    return Playbook()


def test_the_same_request_gets_the_same_answer_and_has_one_effect(play):
    play.open("a")
    first = play.ask(calls.SwitchTask(task_id="a"), key="k")
    second = play.ask(calls.SwitchTask(task_id="a"), key="k")

    assert play.said() == ["reply switching"]
    assert play.answer(first) == play.answer(second)


def test_a_repeat_while_the_first_is_in_flight_gets_the_same_answer_later(play):
    first = play.ask(calls.CreateOrOpenTask(task_id="a"), key="k")
    second = play.ask(calls.CreateOrOpenTask(task_id="a"), key="k")
    assert play.said() == []
    play.prepare("a").says("a", agent.Ready(ALL))

    assert play.answer(first).mode == "created"
    assert play.answer(second) == play.answer(first)


def test_the_same_id_with_another_body_is_refused(play):
    play.open("a")
    play.ask(calls.SwitchTask(task_id="a"), key="k")

    assert play.answer(play.ask(calls.StopTask(task_id="a"), key="k")) == "INVALID_REQUEST"


def test_a_retryable_refusal_is_not_remembered(play):
    assert play.answer(play.ask(calls.Prompt(message="x"), key="k")) == "TASK_NOT_READY"
    play.activate("a")

    assert play.answer(play.ask(calls.Prompt(message="x"), key="k")).accepted


def test_a_final_refusal_is_remembered(play):
    play.ask(calls.SwitchTask(task_id="a"), key="k")
    play.open("a")

    assert play.answer(play.ask(calls.SwitchTask(task_id="a"), key="k")) == "TASK_NOT_FOUND"


def test_remembered_answers_are_bounded_in_number():
    play = Playbook(Limits(idempotency_entries=10))
    play.open("a")
    for number in range(50):
        play.ask(calls.Abort(task_id="a"), key=f"k{number}")

    assert len(play.machine.replays) == 10


def test_remembered_answers_are_bounded_in_weight():
    play = Playbook(Limits(idempotency_bytes=10_000))
    for number in range(20):
        call = play.ask(calls.SystemBash(command="x"), key=f"k{number}")
        result = calls.BashResult(
            output="x" * 3000, exit_code=0, timed_out=False, truncated=False, dropped_bytes=0, cwd=None
        )
        _ = play >> CallFinished(CallId(call), result)

    assert len(play.machine.replays) <= 3
