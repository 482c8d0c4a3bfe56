"""What a new user does on the first day, with the real daemon as a process."""

import json
import signal
import socket

import pytest

from tests.kit.daemon import Daemon, Refused, fake_agent, socket_host


@pytest.fixture
def daemon(tmp_path):
    with Daemon(tmp_path) as running:
        yield running


def test_a_turn_of_the_built_in_agent(daemon):
    with daemon.connect() as host:
        assert host.call("initialize")["serverInfo"]["name"] == "taskd"
        assert host.open("a")["mode"] == "created"
        assert host.turn("echo hello; pwd") == f"hello\n{daemon.state}/a/work\n"
        session = host.call("get_session", taskId="a")
        assert [message["role"] for message in session["turns"][0]["messages"]] == ["user", "assistant"]


def test_a_turn_over_stdio(tmp_path):
    with Daemon(tmp_path).stdio() as host:
        host.open("a")
        assert host.turn("echo over stdio") == "over stdio\n"


def test_a_turn_over_tcp_needs_the_token(tmp_path):
    token_file = tmp_path / "token"
    with (
        Daemon(tmp_path, listen=("tcp:127.0.0.1:0",), flags=("--token-file", str(token_file))) as daemon,
        daemon.connect() as local,
    ):
        address = next(text for text in ready(local, daemon)["listen"] if text.startswith("tcp:"))
        assert token_file.stat().st_mode & 0o777 == 0o600
        with tcp(address) as host:
            with pytest.raises(Refused, match="UNAUTHENTICATED"):
                host.call("get_state")
            with pytest.raises(Refused, match="UNAUTHENTICATED"):
                host.call("initialize", token="0" * 64)
            host.call("initialize", token=token_file.read_text().strip())
            host.open("a")
            assert host.turn("echo over tcp") == "over tcp\n"
        with tcp(address) as old:
            old.send({"id": "1", "type": "authenticate", "payload": {"token": token_file.read_text().strip()}})
            assert old.line()["ok"] is True
            old.send({"id": "2", "type": "runtime_get_state", "payload": {}})
            assert old.until(lambda line: line.get("id") == "2")["result"]["activeTaskId"] == "a"


def test_tcp_without_a_token_only_when_said_out_loud(tmp_path):
    with (
        Daemon(tmp_path, listen=("tcp:127.0.0.1:0",), flags=("--allow-unauthenticated",)) as daemon,
        daemon.connect() as local,
    ):
        address = next(text for text in ready(local, daemon)["listen"] if text.startswith("tcp:"))
        with tcp(address) as host:
            assert host.call("get_state")["tasks"] == []
        assert any("allow_unauthenticated" in line["event"] for line in daemon.logged())


def test_a_restarted_daemon_knows_its_tasks_and_resumes_them(tmp_path):
    daemon = Daemon(tmp_path)
    with daemon, daemon.connect() as host:
        host.open("a")
        host.turn("cd /")
    with daemon, daemon.connect() as host:
        (task,) = host.call("get_state")["tasks"]
        assert (task["state"], task["turnCount"]) == ("stopped", 1)
        assert host.open("a")["mode"] == "resumed"
        assert host.turn("pwd") == "/\n"
        assert host.call("get_session", taskId="a", fromTurn=2)["turns"][0]["number"] == 2


def test_a_daemon_that_was_killed_resumes_after_the_last_told_turn(tmp_path):
    daemon = Daemon(tmp_path)
    with daemon, daemon.connect() as host:
        host.open("a")
        host.turn("echo one")
        daemon.stop(signal.SIGKILL)
    with daemon, daemon.connect() as host:
        assert host.open("a")["turnCount"] == 1
        assert host.turn("echo two") == "two\n"
        assert host.call("get_session", taskId="a")["turnCount"] == 2


def test_an_agent_killed_in_a_turn_ends_it_with_an_error_and_recovers(tmp_path):
    with Daemon(tmp_path, fake_agent()) as daemon, daemon.connect() as host:
        host.open("a")
        host.turn("one")
        host.call("prompt", message="@text half\n@die")
        error = host.event("task_error", "a")
        assert (error["code"], error["details"]["signal"]) == ("PI_PROCESS_DEAD", 9)
        result = host.open("a")
        assert (result["mode"], result["incarnation"], result["turnCount"]) == ("recovered", 2, 1)
        assert host.turn("two") == "echo: two"


def test_switching_sends_prompts_to_the_right_task(daemon):
    with daemon.connect() as host:
        for task in ("a", "b"):
            host.open(task)
            assert host.turn("pwd") == f"{daemon.state}/{task}/work\n"
        host.call("switch_task", taskId="a")
        host.event("task_ready", "a")
        assert host.turn("pwd") == f"{daemon.state}/a/work\n"
        states = {task["taskId"]: task["state"] for task in host.call("get_state")["tasks"]}
        assert states == {"a": "active", "b": "idle"}


def test_order_of_one_prompt(daemon):
    with daemon.connect() as host:
        host.open("a")
        began = len(host.seen)
        host.turn("echo x")
        assert host.names()[began:] == ["answer", "turn_started", "agent_output", "usage", "agent_end"]


def test_an_observer_sees_everything_and_changes_nothing(daemon):
    with daemon.connect() as driver, daemon.connect() as observer:
        observer.call("initialize")
        driver.open("a")
        driver.turn("echo x")
        observer.event("agent_end", "a")
        assert "agent_output" in observer.names()
        with pytest.raises(Refused, match="NOT_DRIVER"):
            observer.call("prompt", message="true")
        driver.call("release_driver")
        assert observer.turn("echo mine") == "mine\n"


def test_the_lease_is_free_when_its_holder_hangs_up(daemon):
    with daemon.connect() as observer:
        observer.call("initialize")
        with daemon.connect() as driver:
            driver.open("a")
        while observer.event("driver_changed")["held"]:
            pass
        observer.call("stop_task", taskId="a")


def test_orderly_shutdown_ends_turns_saves_sessions_and_leaves_nothing(tmp_path):
    daemon = Daemon(tmp_path)
    with daemon, daemon.connect() as host:
        host.open("a")
        host.call("prompt", message="echo begun; exec sleep 1000")
        host.event("agent_output")
        assert daemon.stop() == 0
        end = host.event("agent_end")
        assert end["stopReason"] == "aborted"
        assert host.event("task_stopped", "a")["reason"] == "shutdown"
        assert host.event("channel_closing")["code"] == "SHUTTING_DOWN"
    saved = json.loads((daemon.state / "a" / "session.json").read_bytes())
    assert saved["body"]["turnCount"] == 1


def test_a_second_daemon_on_the_same_state_folder_is_refused(daemon, tmp_path):
    other = Daemon(tmp_path / "state")
    other.state, other.socket = daemon.state, tmp_path / "other.sock"
    other._listen = (f"unix:{other.socket}",)
    with pytest.raises(AssertionError, match=rf"{daemon.process.pid}"):
        other.start()
    other.process.wait()


def test_the_shutdown_call_stops_the_daemon(daemon):
    with daemon.connect() as host:
        host.call("shutdown", reason="done for today")
        host.event("channel_closing")
    assert daemon.process.wait(20) == 0


def test_system_bash_runs_for_the_host(daemon):
    with daemon.connect() as host:
        result = host.call("system_bash", command="echo out; echo err >&2; exit 3")
        assert (result["output"], result["exitCode"]) == ("out\nerr\n", 3)
        result = host.call("system_bash", command="sleep 1000 & sleep 1000", timeoutSeconds=0.2)
        assert (result["exitCode"], result["timedOut"]) == (124, True)


def test_model_calls_reach_the_agent(daemon):
    with daemon.connect() as host:
        host.open("a")
        models = host.call("list_models")["models"]
        assert {"builtin"} == {model["provider"] for model in models}
        assert host.call("set_model", provider="builtin", model="sh")["id"] == "sh"
        assert host.event("model_changed")["model"] == "sh"
        with pytest.raises(Refused, match="AGENT_REFUSED"):
            host.call("set_model", provider="builtin", model="nope")
        assert host.call("get_task", taskId="a")["model"] == "sh"


def test_diag_tells_its_story(daemon):
    with daemon.connect() as host:
        host.open("a")
        diag = host.call("diag")
        assert diag["taskCount"] == 1
        assert any("CreateOrOpenTask" in line for line in diag["story"])


def ready(host, daemon):
    """Give the log line that names the addresses."""
    host.call("initialize")
    return next(line for line in daemon.logged() if line["event"] == "ready")


def tcp(address):
    sock = socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=20)
    return socket_host(sock)
