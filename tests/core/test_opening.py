import pytest

from taskd.core.stimuli import ChildGone, Loaded, OpenFailed
from taskd.model import agent, calls
from taskd.model.agent import Abilities, Model
from taskd.model.errors import Code, TaskdError
from taskd.model.ids import TaskId
from taskd.model.limits import Limits
from taskd.model.records import Known, TaskRecord
from tests.kit.playbook import ALL, Playbook


@pytest.fixture
def play():
    return Playbook()


def test_a_new_task_is_answered_only_when_its_agent_has_answered(play):
    call = play.ask(calls.CreateOrOpenTask(task_id="a"))

    assert play.said() == ["task_bootstrap_state a", "open a #1", "driver_changed"]
    assert play.answer(call) == "nothing"
    play.prepare("a").says("a", agent.Ready(ALL))

    assert play.said() == ["reply created", "task_bootstrap_state a"]
    assert play.state("a") == "ready"


def test_a_task_found_on_disk_is_resumed_never_created(play):
    _ = play >> Loaded((Known(TaskRecord(task_id="a", agent="shell", created_at="x"), turn_count=3),))

    assert play.state("a") == "stopped"
    call = play.open("a")
    assert play.answer(call).mode == "resumed"


def test_an_errored_task_is_recovered_with_a_new_incarnation(play):
    play.open("a")
    play.dies("a", signal=9, code=None)

    call = play.open("a")

    assert play.answer(call).mode == "recovered"
    assert play.answer(call).incarnation == 2


@pytest.mark.parametrize("state", ["creating", "ready", "active", "idle"])
def test_an_open_task_is_not_opened_again(play, state):
    if state == "creating":
        play.ask(calls.CreateOrOpenTask(task_id="a"))
    else:
        play.activate("a") if state in ("active", "idle") else play.open("a")
    if state == "idle":
        play.activate("b")
    assert play.state("a") == state

    call = play.ask(calls.CreateOrOpenTask(task_id="a"))

    assert play.answer(call) == "TASK_NOT_READY"
    assert play.state("a") == state


def test_an_agent_that_refuses_its_model_fails_the_open_and_is_stopped(play):
    call = play.ask(calls.CreateOrOpenTask(task_id="a", provider="x", model="y"))
    play.prepare("a").says("a", agent.Refused("Model not found: x/y"))

    assert play.answer(call) == "TASK_BOOTSTRAP_FAILED"
    assert play.said() == [
        "refuse TASK_BOOTSTRAP_FAILED",
        "task_bootstrap_state a",
        "task_error a",
        "stop child a #1",
    ]
    assert play.state("a") == "errored"


def test_an_agent_that_dies_before_it_answers_fails_the_open_with_its_last_words(play):
    call = play.ask(calls.CreateOrOpenTask(task_id="a"))
    play.dies("a", code=1, tail="warning\nno such session\n")

    assert play.answer(call) == "TASK_BOOTSTRAP_FAILED"
    assert "no such session" in play.answers[call].message


def test_an_agent_that_never_answers_fails_the_open_in_time(play):
    call = play.ask(calls.CreateOrOpenTask(task_id="a"))
    play.fires("bootstrap", "a")

    assert play.answer(call) == "TASK_BOOTSTRAP_FAILED"
    assert "bootstrap_seconds" in play.answers[call].message


def test_a_failed_spawn_leaves_a_task_that_can_be_recovered(play):
    call = play.ask(calls.CreateOrOpenTask(task_id="a"))
    _ = play >> OpenFailed(TaskId("a"), 1, TaskdError(Code.TASK_BOOTSTRAP_FAILED, "no such file"))

    assert play.answer(call) == "TASK_BOOTSTRAP_FAILED"
    assert "stop child a #1" not in play.said()
    again = play.open("a")
    assert play.answer(again).mode == "recovered"


def test_a_refused_folder_leaves_no_task(play):
    play.ask(calls.CreateOrOpenTask(task_id="a", working_folder_relative="../x"))
    _ = play >> OpenFailed(TaskId("a"), 1, TaskdError(Code.WORKSPACE_POLICY_VIOLATION, "no"))

    assert play.answer(play.ask(calls.SwitchTask(task_id="a"))) == "TASK_NOT_FOUND"


def test_a_refused_folder_is_not_kept_by_a_task_that_was_there(play):
    play.open("a", working_folder_relative="good")
    play.ask(calls.StopTask(task_id="a"))
    play.dies("a")
    play.ask(calls.CreateOrOpenTask(task_id="a", working_folder_relative="../x"))
    _ = play >> OpenFailed(TaskId("a"), 2, TaskdError(Code.WORKSPACE_POLICY_VIOLATION, "no"))

    assert play.state("a") == "errored"
    assert play.task("a").record.working_folder_relative == "good"


def test_naming_a_folder_forgets_the_one_that_was_named_before(play):
    folders = []
    for given in ({"working_folder_relative": "x"}, {}, {"working_folder": "/y"}, {"working_folder": ""}):
        play.ask(calls.StopTask(task_id="a"))
        play.dies("a") if play.machine.world.tasks else None
        play.open("a", **given)
        folders.append((play.task("a").record.working_folder, play.task("a").record.working_folder_relative))

    assert folders == [(None, "x"), (None, "x"), ("/y", None), (None, None)]


def test_another_agent_does_not_inherit_the_models_of_the_one_before(play):
    play.ask(calls.CreateOrOpenTask(task_id="a", agent="pi", provider="p", model="m"))
    _ = play >> OpenFailed(TaskId("a"), 1, TaskdError(Code.TASK_BOOTSTRAP_FAILED, "no such file"))
    play.open("a", agent="shell")

    assert (play.task("a").record.provider, play.task("a").record.model) == (None, None)


def test_recovery_waits_until_the_process_before_it_is_gone(play):
    play.open("a")
    play.now += 100
    play.ask(calls.SwitchTask(task_id="a"))
    play.fires("switch", "a")
    assert play.state("a") == "errored"

    call = play.ask(calls.CreateOrOpenTask(task_id="a"))
    assert play.said() == ["task_bootstrap_state a"]
    _ = play >> ChildGone(TaskId("a"), 1, None, 9)
    assert play.said() == ["open a #2"]
    play.prepare("a").says("a", agent.Ready(ALL))
    assert play.answer(call).mode == "recovered"


def test_the_model_that_the_agent_really_uses_is_remembered(play):
    play.ask(calls.CreateOrOpenTask(task_id="a"))
    play.prepare("a").says("a", agent.Ready(ALL, Model("p", "m"), "high"))

    assert (play.task("a").record.provider, play.task("a").record.model) == ("p", "m")
    assert play.task("a").record.thinking_level == "high"


def test_a_session_is_not_given_to_another_agent(play):
    _ = play >> Loaded((Known(TaskRecord(task_id="a", agent="pi", created_at="x"), turn_count=1),))

    assert play.answer(play.ask(calls.CreateOrOpenTask(task_id="a", agent="shell"))) == "INVALID_PARAMS"


def test_an_unknown_agent_is_refused_with_those_that_exist(play):
    call = play.ask(calls.CreateOrOpenTask(task_id="a", agent="nope"))

    assert play.answer(call) == "INVALID_PARAMS"
    assert play.answers[call].details["known"] == ["pi", "shell"]


@pytest.mark.parametrize("task_id", ["", ".", "..", "sessions", "a/b", "a\0b", "a\nb", "é", "x" * 129, ".hidden", "-a"])
def test_ids_that_could_reach_a_path_are_refused(play, task_id):
    for params in (calls.CreateOrOpenTask, calls.SwitchTask, calls.StopTask):
        assert play.answer(play.ask(params(task_id=task_id))) == "INVALID_PARAMS"


@pytest.mark.parametrize("task_id", ["a", "a..b", "A-1_2.3", "x" * 128])
def test_harmless_ids_are_taken(play, task_id):
    assert play.answer(play.open(task_id)).mode == "created"


def test_more_tasks_than_the_limit_are_refused():
    play = Playbook(Limits(tasks=1))
    play.open("a")

    assert play.answer(play.ask(calls.CreateOrOpenTask(task_id="b"))) == "OVERLOADED"


def test_an_agent_without_resume_says_so(play):
    call = play.open("a", abilities=Abilities(resume=False))

    assert play.answer(call).resumable is False
