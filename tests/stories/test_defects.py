"""What was wrong with the system that this one replaces, one test for each defect that a test can pin.

The numbers are those of the review of that system. Pinned elsewhere, or not at all:

| defect | was | where |
|---|---|---|
| 1 | an agent's line `null` ended the daemon | `test_bad_agents.py`, a turn goes on after `@null` |
| 3 | so did a closed stdin of an agent (EPIPE) | `test_bad_agents.py`, an agent that has closed its stdin |
| 5 | lines split at U+2028: an end was lost | both `test_bad_*.py`: characters that are no newline |
| 6 | a refused prompt stayed in flight for ever | `test_bad_agents.py`, a prompt that the agent refuses |
| 9 | a failed spawn opened as `ready` the next time | `test_bad_agents.py`, what cannot be executed is said each time |
| 10 | a prompt was accepted before it was checked | transcript `abort`; in flight until its end: `test_p0.py` |
| 11 | a session on disk reopened as `created` | `test_first_day.py`, a restarted daemon knows its tasks |
| 12 | nothing was written atomically | `tests/services/test_store*.py`, `tests/disk/` with its power cuts |
| 25 | equal ids in flight both had their effect | transcript `idempotency`; `test_p0.py`, two at once |
| 29 | no TCP_NODELAY: 44 ms for a switch | `tests/edge/test_binding.py`; the time itself: `taskctl bench` |
| 30 | open TCP port, no authentication | `test_first_day.py`, TCP needs the token; `tests/edge/test_guard.py` |
"""

import os
import select
import signal
from pathlib import Path

import pytest

from tests.kit.daemon import PATIENCE_SECONDS, Daemon, Refused, fake_agent

BOUNDS = """
[limits]
outbox_bytes = 1048576
idempotency_entries = 20
bash_output_bytes = 65536
stop_eof_seconds = 0.1
stop_term_seconds = 0.1
stop_abort_seconds = 0.2
tasks = 60
"""
SECRETS = {"OPENAI_API_KEY": "sk-hunter2", "PIWORK_TOKEN": "hunter2", "CREDENTIALS_DIRECTORY": "/nonexistent/hunter2"}
MIB = 1 << 20


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("defects")
    gated = fake_agent("gated", "--start", "@reach waits\n@gate go", default=False)
    settings = f'workspace_root = "{folder / "later"}"\n{fake_agent()}{gated}{BOUNDS}'
    with Daemon(folder, settings, env=SECRETS) as running:
        yield running


@pytest.fixture
def host(daemon):
    with daemon.connect() as channel:
        yield channel


@pytest.fixture
def task(request, host):
    """A running task of the scripted agent, named after the test."""
    name = request.node.name
    host.open(name)
    yield name
    host.call("stop_task", taskId=name)


def state(host, task):
    return host.call("get_task", taskId=task)


def work(host, task):
    return Path(state(host, task)["workDir"])


def test_defect_02_a_nul_in_a_shell_command_is_refused(host):
    for params in ({"command": "echo \0"}, {"command": "true", "cwd": "/\0"}, {"command": "true", "cwd": "/nobody"}):
        with pytest.raises(Refused, match="INVALID_PARAMS"):
            host.call("system_bash", **params)


def test_defect_04_a_process_that_is_gone_when_it_is_stopped_is_no_fault(host):
    host.open("gone", agent="shell")
    host.call("prompt", message="kill -9 $PPID")
    first, second = host.ask("stop_task", taskId="gone"), host.ask("stop_task", taskId="gone")

    assert (host.result(first)["state"], host.result(second)["state"]) == ("stopped", "stopped")


def test_defect_07_an_answer_to_a_dialog_is_not_waited_for_and_delays_nothing(host, task):
    host.call("prompt", message='@confirm {"title":"Sure?"}\n@text went on')
    request = host.event("agent_question", task)["requestId"]
    assert len(host.call("list_models")["models"]) == 3

    answered = host.ask("answer", requestId=request, confirmed=True)
    models = host.ask("list_models")
    assert host.result(answered)["answered"] is True
    assert len(host.result(models)["models"]) == 3
    host.event("agent_end", task)


def test_defect_08_a_question_of_an_idle_task_is_told_and_can_be_answered(host, task):
    host.call("prompt", message='@gate go\n@confirm {"title":"Sure?"}\n@text went on')
    host.open("front", agent="shell")
    (work(host, task) / "go").touch()
    request = host.event("agent_question", task)["requestId"]
    assert state(host, task)["state"] == "idle"
    assert state(host, task)["questions"][0]["requestId"] == request

    host.call("answer", requestId=request, confirmed=True)
    assert host.event("agent_output", task)["chunk"] == "went on"
    host.event("agent_end", task)


def test_defect_13_ready_means_that_the_agent_has_answered(host):
    call = host.ask("create_or_open_task", taskId="slow", agent="gated")
    host.event("task_bootstrap_state", "slow")
    assert (state(host, "slow")["state"], state(host, "slow")["bootstrapStatus"]) == ("creating", "pending")
    with pytest.raises(Refused, match="TASK_NOT_READY"):
        host.call("switch_task", taskId="slow")

    # The folder may not be there yet.
    work(host, "slow").mkdir(parents=True, exist_ok=True)
    (work(host, "slow") / "go").touch()
    assert host.result(call)["state"] == "ready"


def test_defect_14_a_model_that_the_agent_does_not_know_fails_the_start(host):
    with pytest.raises(Refused, match="Model not found"):
        host.call("create_or_open_task", taskId="model", provider="mock", model="nothing")
    assert (state(host, "model")["state"], state(host, "model")["bootstrapStatus"]) == ("errored", "errored")
    assert host.call("create_or_open_task", taskId="model", provider="mock", model="mock-2")["mode"] == "recovered"
    assert state(host, "model")["model"] == "mock-2"


def test_defect_15_the_last_words_of_an_agent_are_told_before_its_death_and_nothing_after_it(host):
    host.open("last-words")
    for count in range(1, 6):
        host.call("prompt", message=f"@chunks 2000\n@text last {count}\n@exit 0")
        host.event("task_error", "last-words")
        told = [line["params"]["chunk"] for line in host.seen if line.get("method") == "agent_output"]
        assert "".join(told).endswith(f"last {count}")
        after = len(host.seen)
        host.open("last-words")
        told = [line["params"].get("incarnation") for line in host.seen[after:] if "method" in line]
        assert count not in told


def test_defect_16_the_exit_of_an_old_process_is_not_taken_for_the_new_ones(host):
    """The old one is killed, so its exit comes late; the new one is asked for at once."""
    host.open("again")
    for count in range(5):
        host.turn("@ignore term eof\n@text stubborn")
        host.call("stop_task", taskId="again")
        assert host.open("again")["incarnation"] == count + 2
        assert host.turn("hello") == "echo: hello"
    assert "task_error" not in host.names()


def test_defect_17_stopped_is_said_when_the_process_is_gone_also_the_second_time(host):
    host.open("twice")
    host.turn("@ignore term eof\n@escape pid\n@text stubborn")
    pid = int((work(host, "twice") / "pid").read_text())
    calls = [host.ask("stop_task", taskId="twice") for _ in range(3)]
    for call in calls:
        assert host.result(call)["state"] == "stopped"
        assert gone(pid)
    host.event("task_stopped", "twice")
    assert host.names().count("task_stopped") == 1


def test_defect_18_a_stop_ends_the_whole_family(host):
    host.open("family", agent="shell")
    script = "sleep 1000 & echo $!; setsid sleep 1000 & echo $!; (setsid sh -c 'echo $$; sleep 1000' &); exec sleep 0"
    pids = [int(word) for word in host.turn(script).split()]
    host.call("stop_task", taskId="family")

    assert len(pids) == 3
    assert all(gone(pid) for pid in pids)


def test_defect_19_a_stopped_daemon_leaves_nothing_running(tmp_path):
    daemon = Daemon(tmp_path)
    with daemon, daemon.connect() as host:
        host.open("a")
        pids = [int(word) for word in host.turn("echo $PPID; sleep 1000 & echo $!").split()]
        assert daemon.stop(signal.SIGTERM) == 0
    assert all(gone(pid) for pid in pids)


def test_defect_20_a_shell_command_whose_time_is_up_ends_with_all_that_it_started(host):
    script = "sleep 1000 & echo $!; setsid sleep 1000 & echo $!; echo $$; sleep 1000"
    result = host.call("system_bash", command=script, timeoutSeconds=0.3)

    assert (result["timedOut"], result["exitCode"]) == (True, 124)
    assert [gone(int(word)) for word in result["output"].split()] == [True] * 3


def test_defect_21_endless_output_of_a_shell_command_is_counted_and_dropped(host):
    pid = host.call("diag")["pid"]
    before = peak_kib(pid)
    result = host.call("system_bash", command="head -c 300000000 /dev/zero | tr '\\0' x")

    assert (len(result["output"]), result["droppedBytes"]) == (65536, 300000000 - 65536)
    assert peak_kib(pid) - before < 8 << 10


def test_defect_22_a_host_that_does_not_read_costs_its_outbox_and_no_more(daemon):
    with daemon.connect() as stalled:
        stalled.open("flood")
        done = work(stalled, "flood") / "done"
        pid = stalled.call("diag")["pid"]
        before = peak_kib(pid)
        stalled.ask("prompt", message="@flood 8000 4096\n@reach done")
        for _ in range(1000):
            with daemon.connect() as other:
                other.call("ping")
            if done.exists():
                break
        assert peak_kib(pid) - before < 16 << 10
        assert drain(stalled)[-1]["params"]["code"] == "OVERLOADED"
    with daemon.connect() as host:
        assert state(host, "flood")["state"] == "active"
        host.call("stop_task", taskId="flood")


def test_defect_23_remembered_answers_are_bounded(host):
    for _ in range(100):
        host.call("release_driver")

    assert host.call("diag")["counters"]["rememberedAnswers"] <= 20


def test_defect_24_the_number_of_tasks_is_bounded(tmp_path):
    with Daemon(tmp_path, "[limits]\ntasks = 2\n") as daemon, daemon.connect() as host:
        for task in ("a", "b"):
            host.call("create_or_open_task", taskId=task)
        with pytest.raises(Refused, match="OVERLOADED"):
            host.call("create_or_open_task", taskId="c")


def test_defect_24_what_an_agent_prints_is_not_copied_to_the_log(host, task, daemon):
    secret = "hunter2-" * 100
    host.turn(f"@noise {'x' * 300}{secret}\n@text done")

    assert secret not in daemon.log.read_text()


def test_defect_26_events_are_numbered_and_an_answer_goes_to_who_asked(daemon, host):
    host.call("ping")
    with daemon.connect() as hasty:
        hasty.ask("create_or_open_task", taskId="orphan", agent="shell")
        hasty.event("task_bootstrap_state", "orphan")
    host.until(lambda line: line.get("params", {}).get("status") == "ready")
    host.open("numbered", agent="shell")
    host.turn("echo one; echo two")
    host.call("stop_task", taskId="orphan")
    host.event("task_stopped", "orphan")

    numbers = [line["params"]["seq"] for line in host.seen if "method" in line]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert host.call("get_state")["seq"] == numbers[-1]
    answers = [line["id"] for line in host.seen if "id" in line]
    assert answers == list(range(1, len(answers) + 1))


def test_defect_27_tool_output_and_usage_are_told(host, task):
    host.call("prompt", message='@usage 100 20\n@tool bash {"command":"printf tool-output"}')
    end = host.event("agent_end", task)
    tool = [line["params"] for line in host.seen if line.get("method") in ("tool_started", "tool_output", "tool_ended")]

    assert "".join(event.get("chunk", "") for event in tool) == "tool-output"
    assert (tool[0]["tool"], tool[-1]["isError"]) == ("bash", False)
    assert (end["usage"]["input"], end["usage"]["output"]) == (110, 25)


def test_defect_28_characters_are_not_torn_where_a_read_ends(host):
    text = "x" + "€" * 20000
    # Octal, because /bin/sh knows no other numbers of bytes.
    print_it = "printf x; printf '\\342\\202\\254%.0s' $(seq 20000)"
    result = host.call("system_bash", command=print_it, cwd="/")
    assert result["output"] == text.encode()[:65536].decode("utf-8", "ignore")

    host.open("torn", agent="shell")
    assert host.turn(print_it) == text


def test_defect_31_harmless_ids_are_taken(host):
    for task in ("a..b", "0", "A-Z_0.9", "x" * 128, "session", "sessions2"):
        assert host.call("create_or_open_task", taskId=task, agent="shell")["taskId"] == task
        host.call("stop_task", taskId=task)


def test_defect_32_the_workspace_is_looked_at_each_time_and_never_replaced_by_another_place(host, daemon):
    root = daemon.folder / "later"
    with pytest.raises(Refused, match="WORKSPACE_POLICY_VIOLATION"):
        host.call("create_or_open_task", taskId="place", agent="shell", workingFolderRelative="..name")
    (root / "..name").mkdir(parents=True)
    host.open("place", agent="shell", workingFolderRelative="..name")

    assert host.turn("pwd") == f"{root}/..name\n"


def test_defect_33_an_agent_gets_an_allow_list_and_not_the_daemons_environment(host):
    host.open("environment", agent="shell")
    shown = host.turn("env; cat /proc/$PPID/environ | tr '\\0' '\\n'")
    shown += host.call("system_bash", command="env")["output"]

    assert "PATH=" in shown
    assert "hunter2" not in shown


def drain(host):
    """Read to the end of the channel; give every line."""
    try:
        while True:
            host.line()
    except ConnectionError:
        return host.seen


def peak_kib(pid):
    """Give the most memory that a process ever had."""
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.split("\n") if line.startswith("VmHWM"))


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
