import pytest

from taskd.model import agent, calls
from taskd.model.limits import Limits
from tests.kit.playbook import Playbook


@pytest.fixture
def play():
    return Playbook()


def test_a_switch_is_acknowledged_then_started_then_ready(play):
    play.open("a")
    play.ask(calls.SwitchTask(task_id="a"))

    assert play.said() == ["reply switching", "task_switch_started a", "task_ready a"]
    assert play.state("a") == "active"


def test_the_task_that_was_active_becomes_idle(play):
    play.activate("a")
    play.activate("b")

    assert (play.state("a"), play.state("b")) == ("idle", "active")


def test_a_switch_to_the_active_task_succeeds_at_once(play):
    play.activate("a")
    play.now += 1000
    play.ask(calls.SwitchTask(task_id="a"))

    assert play.said() == ["reply switching", "task_switch_started a", "task_ready a"]


def test_an_agent_that_was_silent_for_long_must_give_a_sign_of_life_first(play):
    play.activate("a")
    play.open("b")
    play.now += Limits().probe_fresh_seconds + 1
    play.ask(calls.SwitchTask(task_id="b"))

    assert play.said() == ["reply switching", "task_switch_started b", "tell b Probe"]
    assert play.machine.world.active is None
    play.says("b", agent.Alive())

    assert play.said() == ["task_ready b"]
    assert play.state("b") == "active"


def test_a_prompt_sent_before_the_switch_is_done_goes_to_no_task(play):
    play.activate("a")
    play.open("b")
    play.now += 100
    play.ask(calls.SwitchTask(task_id="b"))

    assert play.answer(play.prompt()) == "TASK_NOT_READY"


def test_a_wedged_agent_ends_the_switch_in_an_error_and_is_stopped(play):
    play.open("a")
    play.now += 100
    play.ask(calls.SwitchTask(task_id="a"))
    play.fires("switch", "a")

    assert play.said() == ["task_error a", "stop child a #1"]
    assert play.wanted(type(play.effects[0])) is not None
    assert play.state("a") == "errored"


def test_nothing_of_an_incarnation_is_told_after_its_error(play):
    play.open("a")
    play.now += 100
    play.ask(calls.SwitchTask(task_id="a"))
    play.fires("switch", "a")

    assert play.says("a", agent.TextDelta("late"), agent.Alive()).said() == []
    assert play.dies("a", code=None, signal=9).said() == []


def test_a_later_switch_supersedes_one_that_waits(play):
    play.open("a")
    play.open("b")
    play.now += 100
    play.ask(calls.SwitchTask(task_id="a"))
    play.ask(calls.SwitchTask(task_id="b"))
    play.says("a", agent.Alive())

    assert play.said() == []
    play.says("b", agent.Alive())
    assert play.said() == ["task_ready b"]
    assert (play.state("a"), play.state("b")) == ("ready", "active")
    assert play.fires("switch", "a").said() == []


@pytest.mark.parametrize("state", ["creating", "errored", "stopped"])
def test_a_task_without_a_ready_agent_is_not_switched_to(play, state):
    if state == "creating":
        play.ask(calls.CreateOrOpenTask(task_id="a"))
    else:
        play.open("a")
        if state == "stopped":
            play.ask(calls.StopTask(task_id="a"))
        play.dies("a")
    assert play.state("a") == state
    call = play.ask(calls.SwitchTask(task_id="a"))

    assert play.answer(call) == "TASK_NOT_READY"
    assert play.answers[call].details["state"] == state


def test_a_switch_leaves_the_turn_of_the_other_task_running(play):
    play.activate("a")
    play.prompt()
    play.activate("b")
    play.says("a", agent.TextDelta("more"))

    assert play.said() == ["agent_output a"]
    play.says("a", agent.TurnEnded("stop")).saves("a")
    assert play.said() == ["agent_end a"]
