"""Agents that are broken, dying or hostile. Whatever one of them does, another task of the same daemon goes on."""

import json
import os
import re
import select
import sys
from pathlib import Path

import pytest

from tests.kit.daemon import PATIENCE_SECONDS, Daemon, Refused, fake_agent

CRUDE = str(Path(__file__).resolve().parents[1] / "kit" / "crude_agent.py")
BOUNDS = """
[limits]
agent_line_bytes = 8388608
abort_seconds = 0.3
stop_abort_seconds = 0.2
stop_eof_seconds = 0.1
stop_term_seconds = 0.1
drain_seconds = 0.1
"""
IMPATIENT = """
[limits]
bootstrap_seconds = 1.0
agent_answer_seconds = 0.3
switch_probe_seconds = 0.5
probe_fresh_seconds = 0.000001
stop_eof_seconds = 0.1
stop_term_seconds = 0.1
"""
MIB = 1 << 20


def agents(folder):
    """Give the settings of all agents of this file."""
    (folder / "no-program").write_text("#!/bin/sh\n")
    (folder / "no-interpreter").write_text("#!/nonexistent/interpreter\n")
    (folder / "no-interpreter").chmod(0o755)
    (folder / "open.env").write_text("KEY=hunter2\n")
    (folder / "open.env").chmod(0o644)
    commands = {
        "exits": ["/bin/sh", "-c", "echo last words >&2; exit 3"],
        "exits-well": ["/bin/true"],
        "killed": ["/bin/sh", "-c", "kill -9 $$"],
        "missing": ["/nonexistent/agent"],
        "not-executable": [str(folder / "no-program")],
        "folder": [str(folder)],
        "no-interpreter": [str(folder / "no-interpreter")],
        "cat": ["/bin/cat"],
        "yes": ["/bin/sh", "-c", "yes & sleep 0.2; exit 4"],
        **{f"dies-after-{last}": [sys.executable, CRUDE, last] for last in ("agent_settled", "agent_end", "response")},
    }
    texts = [fake_agent(), fake_agent("noisy", "--start", "@noise Welcome!\n@stderr 100000", default=False)]
    texts += [
        f'[agents.{name}]\nprotocol = "pi"\ncommand = {json.dumps(command)}' for name, command in commands.items()
    ]
    texts.append(f'[agents.open-secrets]\nprotocol = "pi"\ncommand = ["true"]\nenv_file = "{folder / "open.env"}"')
    return "\n".join(texts) + "\n"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad-agents")
    with Daemon(folder, agents(folder) + BOUNDS) as running:
        yield running


@pytest.fixture(scope="module")
def impatient(tmp_path_factory):
    folder = tmp_path_factory.mktemp("impatient")
    slow = [("silent", "@mute"), ("frozen", "@freeze")]
    texts = [fake_agent(), *(fake_agent(name, "--start", start, default=False) for name, start in slow)]
    with Daemon(folder, "".join(texts) + IMPATIENT) as running:
        yield running


@pytest.fixture
def host(daemon):
    with daemon.connect() as channel:
        yield from witnessed(channel)


@pytest.fixture
def hasty(impatient):
    with impatient.connect() as channel:
        yield from witnessed(channel)


def witnessed(host):
    """Give the channel; before and after, another task works."""
    if "witness" not in states(host):
        host.call("create_or_open_task", taskId="witness", agent="shell")
    yield host
    assert states(host)["witness"] in ("ready", "active", "idle")
    host.call("switch_task", taskId="witness")
    host.event("task_ready", "witness")
    assert host.turn("echo still here") == "still here\n"


@pytest.fixture
def task(request, host):
    """Open a task of the scripted agent, named after the test; it is stopped afterwards."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:100]
    host.open(name)
    yield name
    host.call("stop_task", taskId=name)
    assert states(host)[name] == "stopped"


def states(host):
    return {task["taskId"]: task["state"] for task in host.call("get_state")["tasks"]}


def prompt(host, *lines):
    """Prompt with directives; give the end of the turn."""
    host.call("prompt", message="\n".join(lines))
    return host.event("agent_end")


def refused_open(host, name, **params):
    with pytest.raises(Refused) as refused:
        host.call("create_or_open_task", taskId=name, **params)
    assert refused.value.code == "TASK_BOOTSTRAP_FAILED"
    assert states(host)[name] == "errored"
    assert host.event("task_error", name)["code"] == "TASK_BOOTSTRAP_FAILED"
    return refused.value.error


# What it writes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "deed",
    [
        "@null",
        "@noise not JSON",
        "@noise 7",
        "@noise []",
        '@noise {"type":7}',
        '@noise {"no":"type"}',
        '@noise {"type":"response","id":"t999","command":"prompt","success":false}',
        '@noise {"type":"message_end","message":"no object"}',
        '@noise {"type":"tool_execution_end","toolCallId":"nobody","result":7}',
        "@noise " + "[" * 5000,
        "@bad-utf8",
        f"@line {5 * MIB}",
        "@reorder",
        "@stderr 5000000",
    ],
    ids=lambda deed: deed[:24],
)
def test_a_turn_goes_on_after(host, task, deed):
    assert host.turn(f"{deed}\n@text fine").replace("\ufffd", "") == "fine"


def test_characters_that_are_no_newline_are_told_as_they_are(host, task):
    odd = "a\u2028b\u2029c\u0085d"

    assert host.turn(f'@text "{odd}"') == odd
    assert host.call("get_session", taskId=task)["turns"][0]["messages"][1]["content"][0]["text"] == odd


def test_a_hundred_megabytes_without_a_newline_cost_no_memory(host, task):
    pid = host.call("diag")["pid"]
    before = peak_kib(pid)
    # What follows on the same endless line is lost with it.
    end = prompt(host, "@text begun", f"@unending {100 * MIB}", "@noise the newline", "@text fine")

    assert end["stopReason"] == "stop"
    assert peak_kib(pid) - before < 32 << 10


def test_a_flood_on_stderr_costs_no_memory(host, task):
    pid = host.call("diag")["pid"]
    before = peak_kib(pid)

    assert host.turn(f"@stderr {50 * MIB}\n@text fine") == "fine"
    assert peak_kib(pid) - before < 8 << 10


def test_words_before_the_first_answer_are_no_answer(host):
    assert host.call("create_or_open_task", taskId="noisy", agent="noisy")["state"] == "ready"
    host.call("stop_task", taskId="noisy")


def test_an_echo_is_no_agent(host):
    """cat gives our own commands back; a command is no answer to itself."""
    host.ask("create_or_open_task", taskId="cat", agent="cat")
    host.event("task_bootstrap_state", "cat")
    assert states(host)["cat"] == "creating"


def test_an_agent_that_only_shouts_ends_with_its_exit_code(host):
    error = refused_open(host, "yes", agent="yes")

    assert error["data"]["details"]["exitCode"] == 4


# How it dies ----------------------------------------------------------------------------------------------------------


def test_death_before_any_word_says_how_and_what_it_said_last(host):
    error = refused_open(host, "exits", agent="exits")

    assert error["data"]["details"]["exitCode"] == 3
    assert "last words" in error["message"]
    assert refused_open(host, "exits-well", agent="exits-well")["data"]["details"]["exitCode"] == 0
    assert refused_open(host, "killed", agent="killed")["data"]["details"]["signal"] == 9


@pytest.mark.parametrize("agent", ["missing", "not-executable", "folder", "no-interpreter"])
def test_what_cannot_be_executed_is_said_each_time(host, agent):
    for _ in range(2):
        error = refused_open(host, agent, agent=agent)
        assert f"[agents.{agent}]" in error["message"]


def test_an_errored_task_can_be_opened_with_another_agent(host):
    refused_open(host, "changes", agent="missing")

    assert host.call("create_or_open_task", taskId="changes", agent="fake")["mode"] == "recovered"
    host.call("stop_task", taskId="changes")


def test_secrets_that_others_can_read_are_not_used_and_not_told(host, daemon):
    error = refused_open(host, "open-secrets", agent="open-secrets")

    assert "open.env" in error["message"]
    assert "hunter2" not in str(host.seen) + daemon.log.read_text()


@pytest.mark.parametrize("deed", ["@die", "@die 6", "@exit 0", "@exit 7", "@half", "@torn"])
def test_death_in_a_turn_ends_it_once_and_can_be_recovered(host, deed):
    name = re.sub("[^a-z0-9]+", "-", f"dies {deed}")
    host.open(name)
    host.turn("one")
    host.call("prompt", message=f"@text half\n{deed}")
    error = host.event("task_error", name)

    assert error["code"] == "PI_PROCESS_DEAD"
    assert "agent_end" not in host.names()[-2:]
    result = host.open(name)
    assert (result["mode"], result["turnCount"]) == ("recovered", 1)
    assert host.turn("two") == "echo: two"
    host.call("stop_task", taskId=name)


@pytest.mark.parametrize("last", ["agent_settled", "agent_end"])
def test_death_right_after_the_last_word_loses_no_turn(host, last):
    """The process is gone while the turn is being saved: first the end is told, then the death, and nothing more."""
    name = f"dies-after-{last}"
    host.open(name, agent=name)
    host.call("prompt", message="hello")
    host.event("task_error", name)
    told = [word for word in host.names() if word in ("agent_end", "task_error")]

    if last == "agent_settled":
        assert told == ["agent_end", "task_error"]
        assert host.call("get_session", taskId=name)["turnCount"] == 1
    else:
        assert told == ["task_error"]
    assert host.call("create_or_open_task", taskId=name)["mode"] == "recovered"
    host.call("stop_task", taskId=name)


def test_death_right_after_it_took_the_prompt(host):
    host.open("dies-after-response", agent="dies-after-response")
    host.call("prompt", message="hello")

    assert host.event("task_error", "dies-after-response")["details"]["exitCode"] == 9


def test_an_exit_is_told_although_a_grandchild_holds_the_pipe(host, task):
    host.call("prompt", message="@escape pid\n@exit 5")

    assert host.event("task_error", task)["details"]["exitCode"] == 5
    assert gone(pid_in(host, task))


# How it will not die --------------------------------------------------------------------------------------------------


def test_a_stop_ends_what_ignores_everything_and_its_escaped_children(host):
    host.open("stubborn")
    prompt(host, "@ignore term eof", "@escape pid", "@text ready")
    host.call("stop_task", taskId="stubborn")

    assert gone(pid_in(host, "stubborn"))


def test_a_stop_ends_a_frozen_agent_in_the_middle_of_its_turn(host):
    host.open("frozen")
    host.call("prompt", message="@escape pid\n@text cold\n@freeze")
    host.event("agent_output")
    host.call("stop_task", taskId="frozen")

    assert host.event("task_stopped", "frozen")["reason"] == "requested"
    assert gone(pid_in(host, "frozen"))
    assert host.open("frozen")["mode"] == "resumed"
    assert host.turn("again") == "echo: again"
    host.call("stop_task", taskId="frozen")


def test_an_abort_that_is_not_heard_ends_the_agent(host, task):
    host.call("prompt", message="@text cold\n@freeze")
    host.event("agent_output")
    assert host.call("abort")["aborting"] is True

    assert host.event("task_error", task)["code"] == "PI_PROCESS_DEAD"


def test_an_abort_ends_a_turn_of_which_nothing_was_heard(host, task):
    host.call("prompt", message="@silent\n@hang")
    host.call("abort")

    assert host.event("agent_end", task)["stopReason"] == "aborted"


def test_a_prompt_that_the_agent_refuses_ends_its_turn(host, task):
    end = prompt(host, "@refuse no model today")

    assert (end["stopReason"], end["error"]) == ("error", "no model today")
    assert host.turn("hello") == "echo: hello"


# Pipes that are closed ------------------------------------------------------------------------------------------------


def test_an_agent_that_has_closed_its_stdin_is_given_up_at_the_next_prompt(host, task):
    prompt(host, "@close-stdin", "@text last")
    host.call("prompt", message="are you there?")

    assert host.event("task_error", task)["code"] == "PI_PROCESS_DEAD"
    assert host.open(task)["mode"] == "recovered"
    assert host.turn("and now?") == "echo: and now?"


def test_a_closed_stdout_is_survived(host, task):
    host.call("prompt", message="@text last\n@close-stdout\n@hang")
    host.event("agent_output")
    host.call("abort")

    assert host.event("task_error", task)["code"] == "PI_PROCESS_DEAD"


# Silence --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("agent", ["silent", "frozen"])
def test_an_agent_that_never_answers_is_given_up(hasty, agent):
    error = refused_open(hasty, agent, agent=agent)

    assert "bootstrap_seconds" in error["message"]


def test_a_switch_to_an_agent_that_has_frozen_is_given_up(hasty):
    hasty.open("sleeper")
    hasty.call("prompt", message="@text cold\n@freeze")
    hasty.event("agent_output")
    hasty.call("switch_task", taskId="witness")
    hasty.event("task_ready", "witness")
    hasty.call("switch_task", taskId="sleeper")

    assert hasty.event("task_error", "sleeper")["code"] == "SWITCH_TIMEOUT"
    assert hasty.open("sleeper")["mode"] == "recovered"
    hasty.call("stop_task", taskId="sleeper")


def test_a_command_that_is_never_answered_costs_only_its_caller(hasty):
    hasty.open("mute")
    hasty.turn("@mute set_model\n@text now mute")
    with pytest.raises(Refused, match="AGENT_TIMEOUT"):
        hasty.call("set_model", provider="mock", model="mock-2")

    assert hasty.turn("hello") == "echo: hello"
    assert len(hasty.call("list_models")["models"]) == 3
    hasty.call("stop_task", taskId="mute")


def peak_kib(pid):
    """Give the most memory that a process ever had."""
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.split("\n") if line.startswith("VmHWM"))


def pid_in(host, task):
    """Give the pid that `@escape pid` left in the task's folder."""
    folder = host.call("get_task", taskId=task)["workDir"]
    return int(Path(folder, "pid").read_text())


def gone(pid):
    """Wait until a process has ended; it may be a zombie of somebody who does not look."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(PATIENCE_SECONDS * 1000))
    finally:
        os.close(descriptor)
