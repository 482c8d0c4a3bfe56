"""`taskctl tail`: what happens, as it happens."""

import select
import signal

from tests.host_client.cli_fixtures import daemon, task, taskctl
from tests.host_client.taskctl import Result, finish

__all__ = ["daemon", "task", "taskctl"]


def tail(taskctl, task, *flags, doing):
    """Give what a tail shows of something that is done, without what it shows of the driver lease."""
    with taskctl.process("tail", *flags) as process, taskctl.daemon.connect() as host:
        # It hears what happens from when it is connected, so something happens until it has heard it.
        while not select.select([process.stdout], [], [], 0)[0]:
            host.call("take_driver")
            host.call("release_driver")
        doing()
        lines = []
        while not lines or b"task_stopped" not in lines[-1]:
            lines.append(process.stdout.readline())
        rest = finish(process, signal.SIGINT)
    return Result(rest.code, b"".join(line for line in lines if b"driver_changed" not in line).decode(), rest.err)


def turn_and_stop(taskctl, task):
    def do():
        taskctl("open", task, "--agent", "fake")
        taskctl("prompt", '@text one\n@tool bash {"command":"echo x"}\n@text two')
        taskctl("stop", task)

    return do


def test_people_get_a_line_for_each_event(taskctl, task):
    told = tail(taskctl, task, doing=turn_and_stop(taskctl, task))
    assert told.code == 130
    assert told.err == ""
    rows = [line.split(maxsplit=3) for line in told.out.split("\n") if task in line]
    assert [row[2] for row in rows][:2] == ["task_bootstrap_state", "task_bootstrap_state"]
    words = {row[2]: row[3] for row in rows if len(row) > 3}
    assert words["task_bootstrap_state"] == "ready: created"
    assert words["agent_output"] == "two"
    assert words["tool_started"] == "⚙ bash echo x"
    assert words["agent_end"].startswith("turn 1, stop · ")
    assert words["task_stopped"] == "requested"


def test_programs_get_the_wire_s_own_fields(taskctl, task):
    told = tail(taskctl, task, "--json", doing=turn_and_stop(taskctl, task))
    events = told.values
    numbers = [event["params"]["seq"] for event in events]
    assert numbers == sorted(numbers)
    end = next(event["params"] for event in events if event["event"] == "agent_end")
    assert (end["taskId"], end["turnNumber"], end["stopReason"]) == (task, 1, "stop")
    assert end["at"].endswith("Z")


def test_one_task_s_events_of_some_kinds_alone(taskctl, task):
    flags = ("-t", task, "-e", "agent_end", "-e", "task_stopped", "-e", "driver_changed", "--json")

    def doing():
        taskctl("prompt", "-t", f"{task}-other", "true")
        turn_and_stop(taskctl, task)()

    told = tail(taskctl, task, *flags, doing=doing)
    assert [(event["event"], event["params"]["taskId"]) for event in told.values] == [
        ("agent_end", task),
        ("task_stopped", task),
    ]


def test_it_leaves_after_a_while_if_it_is_told_to(taskctl):
    assert taskctl("tail", "--for", "0.05").code == 0


def test_the_output_of_an_agent_cannot_break_a_line(taskctl, task):
    def doing():
        taskctl("prompt", "-t", task, r"printf 'one\ntwo\033[2Jthree\007'")
        taskctl("stop", task)

    told = tail(taskctl, task, "-t", task, doing=doing)
    lines = told.out.rstrip("\n").split("\n")
    assert all(line[2:6:3] == "::" for line in lines)
    assert any(line.endswith("twothree␇") for line in lines)
    assert "\x1b" not in told.out
