"""`taskctl open | switch | state | show | stop | models | bash | diag`, for people and for programs."""

from tests.host_client.cli_fixtures import daemon, task, taskctl

__all__ = ["daemon", "task", "taskctl"]


def test_a_task_is_opened_stopped_and_resumed(taskctl, task):
    assert taskctl("open", task).out == f"{task} created and active (agent shell)\n"
    taskctl("prompt", "true")
    assert taskctl("stop", task).out == f"{task} stopped\n"
    assert taskctl("open", task).out == f"{task} resumed and active (agent shell, 1 turn)\n"


def test_open_answers_programs_with_the_wire_s_own_names(taskctl, task):
    opened = taskctl.json("open", task)
    assert (opened["taskId"], opened["mode"], opened["turnCount"]) == (task, "created", 0)
    assert opened["abilities"]["questions"] is True


def test_open_without_switch_leaves_the_active_task_as_it_is(taskctl, task):
    taskctl("open", f"{task}-1")
    assert taskctl("open", f"{task}-2", "--no-switch").out == f"{task}-2 created (agent shell)\n"
    assert taskctl.json("state")["activeTaskId"] == f"{task}-1"


def test_a_model_is_named_with_its_provider_in_one_word(taskctl, task):
    taskctl("open", task, "--model", "builtin/sh")
    assert taskctl.json("state", task)["model"] == "sh"


def test_the_options_of_the_guest_may_stand_before_the_command_or_after_it(taskctl, task):
    taskctl("open", task)
    assert taskctl("state", task, "--json").value["taskId"] == task
    assert taskctl("--json", "state", task).value["taskId"] == task


def test_the_address_of_the_command_line_counts_before_the_environment_s(taskctl, monkeypatch):
    monkeypatch.setenv("TASKD_ADDRESS", "unix:/nowhere/taskd.sock")
    assert taskctl("state").code == 0


def test_switch_tells_how_long_it_took(taskctl, task):
    taskctl("open", f"{task}-1")
    taskctl("open", f"{task}-2")
    switched = taskctl("switch", f"{task}-1", "--timeout", "4")
    assert switched.out.startswith(f"{task}-1 active after ")
    assert switched.out.endswith(" ms\n")
    assert taskctl.json("switch", f"{task}-2")["taskId"] == f"{task}-2"
    assert taskctl.json("state")["activeTaskId"] == f"{task}-2"


def test_state_marks_the_active_task_and_tells_what_is_wrong(taskctl, task):
    taskctl("open", f"{task}-bad", "--agent", "broken")
    taskctl("open", task)
    lines = taskctl("state").out.split("\n")
    assert lines[0].split() == ["task", "state", "agent", "turns", "model", "note"]
    assert f"→  {task} " in "\n".join(lines)
    (broken,) = [line for line in lines if f"{task}-bad" in line]
    assert "errored" in broken
    assert "no key was given" in broken
    assert not any(line.endswith(" ") for line in lines)


def test_state_of_one_task_tells_all_about_it(taskctl, task):
    taskctl("open", task)
    told = taskctl("state", task).out
    assert f"task        {task} (the active one)\n" in told
    assert f"session     {taskctl.daemon.state}/{task}/session.json\n" in told
    assert "last error" not in told


def test_show_gives_the_conversation(taskctl, task):
    taskctl("open", task)
    taskctl("prompt", "echo one\necho two")
    taskctl("prompt", "!tool echo used")
    shown = taskctl("show", task).out
    assert "> echo one\n> echo two\none\ntwo\n" in shown
    assert "⚙ bash echo used\nused\nDone.\n" in shown
    assert shown.count("── turn") == 2
    assert taskctl("show").out == shown


def test_show_can_begin_later(taskctl, task):
    taskctl("open", task)
    for word in ("one", "two", "three"):
        taskctl("prompt", f"echo {word}")
    assert "two" not in taskctl("show", task, "--last", "1").out
    assert [turn["number"] for turn in taskctl.json("show", task, "--from-turn", "2")["turns"]] == [2, 3]
    assert taskctl("show", task, "--from-turn", "9").out == f"no completed turn from 9 on in {task}; there are 3\n"


def test_show_of_a_task_without_turns_says_so(taskctl, task):
    taskctl("open", task)
    assert taskctl("show", task).out == f"no completed turn in {task}\n"


def test_stop_all_stops_what_runs(taskctl, task):
    for number in (1, 2):
        taskctl("open", f"{task}-{number}")
    stopped = taskctl.json("stop", "--all")
    assert {f"{task}-1", f"{task}-2"} <= {one["taskId"] for one in stopped}
    assert {one["state"] for one in taskctl.json("state")["tasks"]} == {"stopped"}
    assert taskctl("stop", "--all").out == "nothing to stop\n"


def test_stopping_goes_on_when_one_is_refused(taskctl, task):
    taskctl("open", task)
    stopped = taskctl("stop", "nobody", task)
    assert stopped.code == 1
    assert stopped.out == f"{task} stopped\n"
    assert "TASK_NOT_FOUND" in stopped.err


def test_models_are_listed_and_chosen(taskctl, task):
    taskctl("open", task)
    assert "→  builtin/bash" in taskctl("models").out
    assert taskctl("models", "--set", "builtin/sh").out == f"{task} uses builtin/sh\n"
    assert "→  builtin/sh" in taskctl("models", task).out
    assert [model["id"] for model in taskctl.json("models")["models"]] == ["bash", "sh"]
    assert taskctl.json("models", "--set", "builtin/bash")["id"] == "bash"


def test_a_shell_command_gives_its_output_and_its_code(taskctl):
    ran = taskctl("bash", "echo out; exit 7")
    assert (ran.code, ran.out) == (7, "out\n")
    ran = taskctl("bash", "--cwd", "/", "ls", "-d", "--json")
    assert ran.code != 0, "options after the command are the command's"
    assert taskctl("--json", "bash", "exit 3").value["exitCode"] == 3


def test_a_shell_command_s_time_limit_is_told(taskctl):
    ran = taskctl("bash", "--timeout", "0.1", "exec sleep 60")
    assert ran.code == 124
    assert "its time was up" in ran.err


def test_diag_tells_people_a_summary_and_programs_everything(taskctl, task):
    taskctl("open", task)
    told = taskctl("diag").out
    assert told.startswith("taskd ")
    for part in ("channels", "tasks", "settings that are not the default", "last decisions", task):
        assert part in told
    assert len(taskctl("diag", "--story").out) > len(told)
    assert taskctl.json("diag")["taskCount"] >= 1


def test_every_answer_for_programs_is_one_line_of_json(taskctl, task):
    taskctl("open", task)
    for arguments in (
        ["state"],
        ["state", task],
        ["show"],
        ["models"],
        ["diag"],
        ["answer"],
        ["abort"],
        ["stop", task],
    ):
        result = taskctl(*arguments, "--json")
        assert result.code == 0
        assert len(result.values) == 1
        assert result.err == ""
