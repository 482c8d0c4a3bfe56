"""What the doors do before anything is said: which files they make, who owns stdio, what a first line decides."""

import os
import signal
import stat
import subprocess

import pytest

from tests.kit.daemon import PATIENCE_SECONDS, Daemon
from tests.kit.speaker import Speaker

PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'


@pytest.mark.parametrize(("uids", "mode"), [("[]", 0o600), ("[{own}]", 0o600), ("[{own}, 54321]", 0o666)])
def test_a_socket_is_open_to_others_only_if_others_are_allowed(tmp_path, uids, mode):
    with Daemon(tmp_path, f"allowed_uids = {uids.format(own=os.geteuid())}\n") as daemon, daemon.connect() as host:
        assert host.call("ping")
        assert stat.S_IMODE(daemon.socket.stat().st_mode) == mode


def test_a_folder_made_for_the_socket_is_opened_with_it(tmp_path):
    daemon = Daemon(tmp_path, "allowed_uids = [54321]\n", listen=(f"unix:{tmp_path}/made/taskd.sock",))
    with daemon:
        assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o711


@pytest.mark.parametrize("source", ["file", "environment"])
def test_stdio_as_an_address_is_a_channel_like_the_flag(tmp_path, source):
    text = 'listen = ["stdio"]\n' if source == "file" else ""
    env = {"TASKD_LISTEN": "stdio"} if source == "environment" else {}
    daemon = Daemon(tmp_path, text)
    env = {**os.environ, **env}
    ran = subprocess.run(
        daemon.command(), input=PING, capture_output=True, env=env, timeout=PATIENCE_SECONDS, check=True
    )

    assert b'"result":{"at":' in ran.stdout


def test_stdio_beside_a_socket_ends_both(tmp_path):
    daemon = Daemon(tmp_path)
    flags = ("--listen", "stdio", "--listen", f"unix:{daemon.socket}")
    ran = subprocess.run(daemon.command(*flags), input=PING, capture_output=True, timeout=PATIENCE_SECONDS, check=True)

    assert ran.stdout.count(b"\n") >= 1
    assert not daemon.socket.exists()


@pytest.mark.parametrize("dialect", ["jsonrpc", "p0"])
def test_what_is_in_no_dialect_chooses_none(first_daemon, dialect):
    with first_daemon.connect() as host:
        host.send_bytes(b"\n\xff\xfe garbage\n{}\n7\n")
        for _ in range(3):
            assert host.line()["jsonrpc"] == "2.0"
        speaker = Speaker(host, dialect)
        assert speaker.call("ping")
        assert ("ok" in host.seen[-1]) == (dialect == "p0")
        assert speaker.fault(b"garbage") == ("INVALID_REQUEST" if dialect == "p0" else "PARSE_ERROR")


def test_a_channel_that_has_said_nothing_is_told_nothing(first_daemon):
    with first_daemon.connect() as silent, first_daemon.connect() as host:
        host.call("create_or_open_task", taskId="a")
        host.call("stop_task", taskId="a")
        silent.call("ping")
        assert silent.names() == ["answer"]


def test_a_request_that_waited_at_the_door_is_carried_out(tmp_path):
    """The socket takes connections before the daemon is ready to serve them."""
    daemon = Daemon(tmp_path)
    process = subprocess.Popen(
        daemon.command("--listen", f"unix:{daemon.socket}"), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with first_connection(daemon, process) as host:
            assert host.call("create_or_open_task", taskId="early")["state"] == "ready"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0


def test_a_folder_whose_name_is_not_utf8_is_refused_at_once(tmp_path):
    daemon = Daemon(tmp_path)
    daemon.state = tmp_path / os.fsdecode(b"st\xff")
    ran = subprocess.run(daemon.command(), capture_output=True, timeout=PATIENCE_SECONDS, check=False)

    assert ran.returncode == 2
    assert b"expected a path in UTF-8" in ran.stderr


@pytest.fixture(scope="module")
def first_daemon(tmp_path_factory):
    with Daemon(tmp_path_factory.mktemp("doors")) as running:
        yield running


def first_connection(daemon, process):
    """Connect as soon as there is a socket."""
    for _ in range(int(PATIENCE_SECONDS / 0.005)):
        try:
            return daemon.connect()
        except OSError:
            try:
                process.wait(0.005)
            except subprocess.TimeoutExpired:
                continue
            break
    raise AssertionError("the daemon does not listen")
