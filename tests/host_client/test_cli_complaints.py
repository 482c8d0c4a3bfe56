"""What goes wrong ends in a sentence, what to do next, and an exit code of its kind."""

import select
import socket
import subprocess
import sys

import pytest

from tests.host_client.cli_fixtures import daemon, task, taskctl
from tests.host_client.taskctl import COMMAND, finish, in_process, plain_env
from tests.kit.daemon import Daemon

__all__ = ["daemon", "task", "taskctl"]


@pytest.fixture
def nobody(tmp_path, monkeypatch):
    """This user has no daemon."""
    monkeypatch.delenv("TASKD_ADDRESS", raising=False)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    return f"unix:{tmp_path}/taskd.sock"


def test_without_a_daemon_it_says_how_to_start_one(nobody):
    result = in_process("state")
    assert result.code == 3
    assert result.out == ""
    assert nobody in result.err
    assert "taskd serve" in result.err
    assert "TASKD_ADDRESS" in result.err


def test_without_a_daemon_programs_are_told_in_json(nobody):
    result = in_process("state", "--json")
    assert result.code == 3
    assert result.err == ""
    error = result.value["error"]
    assert (error["code"], error["retryable"]) == ("DIAL_FAILED", True)
    assert "taskd serve" in error["hint"]


def test_a_daemon_is_found_by_itself(taskctl, monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(taskctl.daemon.folder))
    assert in_process("state").code == 0


def test_the_environment_names_a_daemon(taskctl, monkeypatch):
    monkeypatch.setenv("TASKD_ADDRESS", taskctl.address)
    assert in_process("state").code == 0


def test_an_address_that_is_none_is_explained():
    result = in_process("-a", "here", "state")
    assert result.code == 3
    assert "unix:/PATH" in result.err


def test_a_closed_port_is_no_connection():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = f"tcp:127.0.0.1:{sock.getsockname()[1]}"
    result = in_process("--address", address, "state")
    assert result.code == 3
    assert address in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["opne"],
        ["open"],
        ["open", "a", "--nope"],
        ["stop"],
        ["stop", "a", "--all"],
        ["switch", "a", "--timeout", "-1"],
        ["models", "--set", "bash"],
        ["prompt", ""],
        ["answer", "x", "--yes", "--cancel"],
        ["completion", "powershell"],
        ["shutdown"],
    ],
)
def test_wrong_usage_has_an_exit_code_of_its_own(taskctl, arguments):
    result = taskctl(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert "--help` says how" in result.err
    result = taskctl("--json", *arguments)
    assert (result.code, result.value["error"]["code"], result.err) == (2, "USAGE", "")


def test_a_command_that_is_nearly_right_is_suggested():
    assert "Did you mean 'switch'?" in in_process("swich", "a").err


def test_what_the_guest_refuses_is_told_with_what_to_do_next(taskctl, task):
    assert "taskctl open" in taskctl("switch", task).err
    taskctl("open", task)
    refused = taskctl("open", task)
    assert refused.code == 1
    assert f"`taskctl switch {task}`" in refused.err
    taskctl("stop", task)
    assert f"`taskctl open {task}` resumes it" in taskctl("switch", task).err
    assert "`taskctl open TASK`" in taskctl("prompt", "hello").err


def test_what_the_guest_refuses_is_told_to_programs_as_on_the_wire(taskctl, task):
    result = taskctl("switch", task, "--json")
    assert result.code == 1
    error = result.value["error"]
    assert error["code"] == "TASK_NOT_FOUND"
    assert error["retryable"] is False
    assert not error["message"].startswith("TASK_NOT_FOUND")


def test_an_agent_that_does_not_start_is_explained(taskctl, task):
    failed = taskctl("open", task, "--agent", "broken")
    assert failed.code == 1
    assert "no key was given" in failed.err
    assert f"`taskctl state {task}`" in failed.err


def test_an_agent_s_words_cannot_draw_in_a_complaint(taskctl, task):
    failed = taskctl("open", task, "--agent", "\x1b[2Jevil\nline")
    assert "\x1b" not in failed.err
    assert failed.err.count("\n") == 1


def test_no_answer_in_time_has_an_exit_code_of_its_own(taskctl, task):
    taskctl("open", f"{task}-deaf", "--agent", "fake")
    taskctl("prompt", "@mute\n@text from now on I hear nothing")
    taskctl("open", f"{task}-other")
    result = taskctl("switch", f"{task}-deaf", "--timeout", "0.05")
    assert result.code == 4
    assert "within 0.05 s" in result.err
    result = taskctl("switch", f"{task}-deaf", "--timeout", "0.05", "--json")
    assert (result.code, result.value["error"]["code"]) == (4, "SWITCH_TIMEOUT")


def test_a_guest_that_hangs_up_is_no_connection(tmp_path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"{tmp_path}/mute.sock")
        sock.listen()
        process = subprocess.Popen(
            [*COMMAND, "-a", f"unix:{tmp_path}/mute.sock", "state"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=plain_env(),
        )
        peer, _ = sock.accept()
        peer.close()
        sock.close()
        result = finish(process)
    assert result.code == 3, result
    assert f"{tmp_path}/mute.sock" in result.err


def test_a_tcp_guest_s_token_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("TASKD_TOKEN", raising=False)
    token = tmp_path / "token"
    flags = ("--token-file", str(token))
    with Daemon(tmp_path, listen=("tcp:127.0.0.1:0",), flags=flags) as guest, guest.connect() as host:
        host.call("initialize")
        listen = next(line["listen"] for line in guest.logged() if line["event"] == "ready")
        address = next(one for one in listen if one.startswith("tcp:"))
        refused = in_process("-a", address, "state")
        assert refused.code == 3
        assert "UNAUTHENTICATED" in refused.err
        assert "--token-file" in refused.err
        assert in_process("-a", address, "--token-file", str(token), "state").code == 0
        assert in_process("-a", address, "--token-file", f"{tmp_path}/none", "state").code == 3
        monkeypatch.setenv("TASKD_TOKEN", token.read_text().strip())
        assert in_process("-a", address, "state").code == 0


def test_a_file_of_this_host_that_cannot_be_read_is_told(taskctl, tmp_path, monkeypatch):
    (tmp_path / "dot.png").mkdir()
    monkeypatch.setattr("click.Path.convert", lambda self, value, param, ctx: value)
    for flags in ([], ["--json"]):
        result = taskctl("prompt", "-i", str(tmp_path / "dot.png"), "what is it", *flags)
        assert result.code == 1
        assert "dot.png" in result.err + result.out


def test_the_old_dialect_is_spoken_if_that_is_said(taskctl, task):
    assert taskctl("--dialect", "p0", "open", task).out == f"{task} created and active (agent shell)\n"
    assert taskctl("--dialect", "p0", "prompt", "echo old").out == "old\n"
    assert taskctl("--dialect", "p0", "state", "--json").value["activeTaskId"] == task


def test_a_lease_that_another_host_holds_is_taken_only_when_that_is_said(taskctl, task):
    with taskctl.daemon.connect() as other:
        other.call("initialize")
        other.call("take_driver")
        refused = taskctl("open", task)
        assert refused.code == 1
        assert "--take-driver" in refused.err
        assert taskctl("open", task, "--take-driver").code == 0
        other.event("driver_changed")


def test_without_click_it_says_what_to_install():
    program = "import sys; sys.modules['click'] = None; from host_client.__main__ import main; sys.exit(main())"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, env=plain_env(), timeout=20, check=False)
    assert ran.returncode == 2
    assert ran.stderr == b"taskctl needs click: pip install 'taskd[host]'\n"


def test_a_command_that_cannot_be_loaded_breaks_no_other(monkeypatch):
    monkeypatch.setitem(sys.modules, "host_client.bench.command", None)
    failed = in_process("bench", "--quick")
    assert failed.code == 1
    assert "bench" in failed.err
    assert in_process("--help").code == 0


def test_a_reader_that_has_enough_ends_a_prompt_without_a_complaint(taskctl, task):
    taskctl("open", task)
    with taskctl.process("prompt", "seq 1 200000") as process:
        assert process.stdout.read(2) == b"1\n"
        process.stdout.close()
        process.stdout = None
        result = finish(process)
    assert (result.code, result.err) == (0, "")


def test_a_reader_that_has_enough_ends_a_tail_without_a_complaint(taskctl, task):
    taskctl("open", task)
    with taskctl.process("tail") as process:
        # It hears what happens from when it is connected, so something happens until it has heard it.
        while not select.select([process.stdout], [], [], 0)[0]:
            taskctl("prompt", "-t", task, "echo said")
        process.stdout.close()
        process.stdout = None
        while process.poll() is None:
            taskctl("prompt", "-t", task, "echo said")
        result = finish(process)
    assert (result.code, result.err) == (0, "")
