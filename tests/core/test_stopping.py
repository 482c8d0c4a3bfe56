import pytest

from taskd.core.effects import Save
from taskd.core.stimuli import ShutdownAsked
from taskd.model import agent, calls
from tests.kit.playbook import Playbook


@pytest.fixture
def play():
    play = Playbook()
    play.activate("a")
    return play


def test_a_stop_is_answered_when_the_process_is_gone(play):
    call = play.ask(calls.StopTask(task_id="a"))
    assert play.said() == ["stop child a #1"]
    assert play.machine.world.active is None
    play.dies("a", code=0)

    assert play.said() == ["reply stopped", "task_stopped a"]
    assert play.answer(call).state == "stopped"


def test_hosts_of_the_replaced_system_get_the_event_before_the_answer(play):
    play.ask(calls.StopTask(task_id="a"), event_first=True)

    assert play.dies("a", code=0).said() == ["task_stopped a", "reply stopped"]


def test_a_second_stop_waits_for_the_same_end(play):
    first = play.ask(calls.StopTask(task_id="a"))
    second = play.ask(calls.StopTask(task_id="a"))
    assert play.said() == []
    play.dies("a", code=0)

    assert play.said() == ["reply stopped", "reply stopped", "task_stopped a"]
    assert play.answer(first) == play.answer(second)


def test_a_stopped_task_is_stopped_again_without_an_event(play):
    play.ask(calls.StopTask(task_id="a"))
    play.dies("a")
    play.ask(calls.StopTask(task_id="a"))

    assert play.said() == ["reply stopped"]


def test_a_running_turn_is_aborted_saved_and_ended_before_the_stop(play):
    play.prompt()
    play.ask(calls.StopTask(task_id="a"))
    assert play.said() == ["tell a Abort"]
    play.says("a", agent.TurnEnded("aborted")).saves("a")
    assert play.said() == ["agent_end a", "stop child a #1"]

    assert play.dies("a", code=0).said() == ["reply stopped", "task_stopped a"]


def test_a_turn_that_does_not_end_by_abort_is_ended_by_the_stop(play):
    play.prompt()
    play.says("a", agent.TextDelta("half"))
    play.ask(calls.StopTask(task_id="a"))
    assert play.fires("stop", "a").said() == ["stop child a #1"]
    play.dies("a", code=None, signal=9)

    assert play.said() == ["save a turn 1"]
    assert play.wanted(Save)[0].turn.stop_reason == "aborted"
    assert play.saves("a").said() == ["agent_end a", "reply stopped", "task_stopped a"]


def test_an_errored_task_is_stopped_at_once(play):
    play.dies("a")
    play.ask(calls.StopTask(task_id="a"))

    assert play.said() == ["reply stopped", "task_stopped a"]


def test_a_task_that_is_being_stopped_takes_nothing_else(play):
    play.ask(calls.StopTask(task_id="a"))

    assert play.answer(play.ask(calls.SwitchTask(task_id="a"))) == "TASK_NOT_READY"
    assert play.answer(play.prompt()) == "TASK_NOT_READY"


def test_what_waits_for_the_agent_is_refused_by_its_stop(play):
    call = play.ask(calls.ListModels())
    play.ask(calls.StopTask(task_id="a"))
    play.dies("a")

    assert play.answer(call) == "TASK_NOT_READY"


def test_shutdown_stops_every_task_and_then_leaves(play):
    play.activate("b")
    _ = play >> ShutdownAsked("SIGTERM")
    assert play.said() == ["stop child a #1", "stop child b #1"]
    assert play.dies("a").said() == ["task_stopped a"]

    assert play.dies("b").said() == ["task_stopped b", "quit"]


def test_shutdown_with_nothing_running_leaves_at_once():
    play = Playbook()
    _ = play >> ShutdownAsked("SIGTERM")

    assert play.said() == ["quit"]


def test_shutdown_leaves_when_its_time_is_up(play):
    _ = play >> ShutdownAsked("SIGTERM")

    assert play.fires("shutdown").said() == ["quit"]


def test_nothing_new_begins_during_a_shutdown(play):
    _ = play >> ShutdownAsked("SIGTERM")

    assert play.answer(play.ask(calls.CreateOrOpenTask(task_id="c"))) == "SHUTTING_DOWN"


def test_an_open_under_way_fails_when_the_daemon_stops(play):
    call = play.ask(calls.CreateOrOpenTask(task_id="b"))
    _ = play >> ShutdownAsked("SIGTERM")

    assert play.answer(call) == "SHUTTING_DOWN"
    assert "stop child b #1" in play.said()
    play.dies("a")
    assert play.dies("b").said() == ["quit"]


def test_a_host_can_ask_for_the_shutdown(play):
    call = play.ask(calls.Shutdown())

    assert play.answer(call) == calls.Done()
    assert play.said()[0] == "reply Done"
