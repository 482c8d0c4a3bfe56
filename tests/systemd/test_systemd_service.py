"""The units at work, in a guest whose PID 1 is systemd: readiness, doors, watchdog, crashes and stops.

`systemctl show` is the witness of what systemd did, and a conversation over the socket of what hosts see.
"""

from pathlib import Path

import pytest

from taskd.model.limits import DEFAULT_LIMITS
from tests.systemd import guest_container
from tests.systemd.guest_container import Conversation, Guest, GuestError

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(600)]

SERVICE = "taskd.service"
TASK = "task-1"
SHORT_WATCHDOG = "[Service]\nWatchdogSec=1s\n"
EXITED = "1"
"""CLD_EXITED, as ExecMainCode= tells it; a killed process has 2."""
ESCAPEE = "setsid sh -c 'trap \"\" TERM HUP INT; while :; do sleep 1000; done' >/dev/null 2>&1 </dev/null &"
CONNECT = "import socket; socket.socket(socket.AF_UNIX).connect('/run/taskd/taskd.sock')"


def _pid_of(guest: Guest) -> int:
    """The daemon's pid as the guest sees it, 0 when it does not run."""
    return int(guest.show(SERVICE, "MainPID")["MainPID"])


def _restarted(guest: Guest, times: int) -> bool:
    shown = guest.show(SERVICE, "NRestarts", "ActiveState")
    return int(shown["NRestarts"]) >= times and shown["ActiveState"] == "active"


def _processes(guest: Guest) -> list[str]:
    """The name of everything that runs as the service's user."""
    return guest.run("ps", "-u", "taskd", "-o", "comm=", check=False).split()


def _tasks(host: Conversation) -> list[tuple[str, str, int]]:
    return [(task["taskId"], task["state"], task["turnCount"]) for task in host.call("get_state")["tasks"]]


def test_boot_is_done_only_when_the_daemon_told_its_readiness(guest: Guest) -> None:
    shown = guest.show(SERVICE, "Type", "NotifyAccess", "ActiveState", "SubState", "NRestarts", "StatusText")
    with Conversation(guest) as host:
        told = host.call("initialize")

    assert shown.pop("StatusText")
    assert shown == {
        "Type": "notify", "NotifyAccess": "main", "ActiveState": "active", "SubState": "running", "NRestarts": "0",
    }  # fmt: skip
    assert told["serverInfo"]["pid"] == _pid_of(guest)


def test_a_daemon_that_never_tells_readiness_is_not_taken_for_started(guest: Guest) -> None:
    guest.drop_in(SERVICE, "[Service]\nExecStart=\nExecStart=/bin/sleep infinity\nTimeoutStartSec=1s\nRestart=no\n")

    with pytest.raises(GuestError):
        guest.run("systemctl", "restart", SERVICE)
    assert guest.show(SERVICE, "Result") == {"Result": "timeout"}


def test_folders_and_socket_belong_to_the_service_and_are_closed_to_others(guest: Guest) -> None:
    paths = ["/run/taskd", "/run/taskd/taskd.sock", "/var/lib/taskd", "/var/lib/taskd/.home", "/srv/taskd"]
    told = guest.run("stat", "--format=%U:%G %a", *paths).split("\n")[:-1]

    assert told == ["taskd:taskd 750", "taskd:taskd 660", *["taskd:taskd 750"] * 3]
    with pytest.raises(GuestError, match="Permission denied"):
        guest.run("setpriv", "--reuid=nobody", "--clear-groups", "python3", "-c", CONNECT)


def test_first_connection_starts_the_daemon_and_is_answered_over_the_passed_socket(guest: Guest) -> None:
    guest.run("systemctl", "stop", SERVICE)
    assert guest.show(SERVICE, "ActiveState") == {"ActiveState": "inactive"}

    with Conversation(guest) as host:
        told = host.call("initialize")
        host.call("ping")

    pid = _pid_of(guest)
    assert told["serverInfo"]["pid"] == pid
    assert "LISTEN_FDS=1" in guest.run("cat", f"/proc/{pid}/environ").split("\0")


def test_socket_outlives_the_daemon_and_goes_when_it_is_stopped_itself(guest: Guest) -> None:
    socket_path = guest.path(guest_container.SOCKET)
    before = socket_path.stat().st_ino
    guest.run("systemctl", "restart", SERVICE)
    assert socket_path.stat().st_ino == before

    guest.run("systemctl", "stop", "taskd.socket", SERVICE)
    assert not socket_path.exists()


def test_a_daemon_that_hangs_is_killed_and_restarted_by_the_watchdog(guest: Guest) -> None:
    guest.drop_in(SERVICE, SHORT_WATCHDOG)
    guest.run("systemctl", "restart", SERVICE)
    hanging = _pid_of(guest)

    guest.run("kill", "-STOP", str(hanging))
    guest.wait_until("restarted by the watchdog", lambda: _restarted(guest, 1))

    assert _pid_of(guest) not in (0, hanging)
    assert "Watchdog timeout" in guest.journal()
    with Conversation(guest) as host:
        host.call("ping")


def test_a_daemon_that_lives_keeps_the_watchdog_content(guest: Guest) -> None:
    guest.drop_in(SERVICE, SHORT_WATCHDOG)
    guest.run("systemctl", "restart", SERVICE)

    def four_periods_passed() -> bool:
        shown = guest.show(SERVICE, "WatchdogTimestampMonotonic", "ActiveEnterTimestampMonotonic")
        fed, began = (int(shown[key]) for key in sorted(shown, reverse=True))
        return fed - began > 4_000_000

    guest.wait_until("fed for four periods", four_periods_passed)
    assert guest.show(SERVICE, "NRestarts") == {"NRestarts": "0"}


def test_after_kill_9_the_successor_knows_the_tasks_as_stopped_with_their_turns(guest: Guest) -> None:
    with Conversation(guest) as host:
        host.turn(TASK, ESCAPEE)
    guest.wait_until("escapee up", lambda: "sleep" in _processes(guest))
    killed = _pid_of(guest)

    guest.run("kill", "-KILL", str(killed))
    guest.wait_until("restarted after SIGKILL", lambda: _restarted(guest, 1))

    assert _pid_of(guest) not in (0, killed)
    assert _processes(guest) == ["taskd"], "the unit's cgroup was emptied before the successor came"
    with Conversation(guest) as host:
        assert _tasks(host) == [(TASK, "stopped", 1)]
        assert host.call("create_or_open_task", taskId=TASK)["mode"] == "resumed"


def test_stop_is_orderly_and_leaves_no_process_not_even_an_escapee(guest: Guest) -> None:
    with Conversation(guest) as host:
        host.turn(TASK, ESCAPEE)
    guest.wait_until("escapee up", lambda: "sleep" in _processes(guest))

    guest.run("systemctl", "stop", SERVICE)

    shown = guest.show(SERVICE, "ActiveState", "Result", "ExecMainCode", "ExecMainStatus", "ControlGroup")
    assert shown.pop("ControlGroup") in ("", "/system.slice/taskd.service")
    assert shown == {"ActiveState": "inactive", "Result": "success", "ExecMainCode": EXITED, "ExecMainStatus": "0"}
    assert not guest.path("/sys/fs/cgroup/system.slice/taskd.service").exists()
    assert _processes(guest) == []


def test_systemd_waits_longer_for_a_stop_than_the_daemon_needs(guest: Guest) -> None:
    shown = guest.show(SERVICE, "TimeoutStopUSec", "KillMode", "Delegate", "Restart")

    assert shown["TimeoutStopUSec"] == "10s"
    assert DEFAULT_LIMITS.shutdown_seconds < 10
    assert (shown["KillMode"], shown["Delegate"], shown["Restart"]) == ("mixed", "yes", "on-failure")


def test_vsock_door_is_skipped_without_the_device(guest: Guest) -> None:
    guest.run("systemctl", "start", "taskd-vsock.socket")

    shown = guest.show("taskd-vsock.socket", "LoadState", "ActiveState", "ConditionResult", "Listen")
    assert shown == {
        "LoadState": "loaded", "ActiveState": "inactive", "ConditionResult": "no", "Listen": "vsock::5000 (Stream)",
    }  # fmt: skip


@pytest.mark.skipif(not Path("/dev/vsock").exists(), reason="this kernel has no vsock: /dev/vsock is missing")
def test_vsock_door_is_passed_to_the_daemon_beside_the_unix_one(tree: Path) -> None:
    # AF_VSOCK has no namespaces: the port is the machine's. So it is a chance one, not the unit's 5000.
    chance_port = "[Socket]\nListenStream=\nListenStream=vsock::4294967295\n"
    with guest_container.booted(tree, binds=("/dev/vsock",)) as guest:
        guest.drop_in("taskd-vsock.socket", chance_port)
        guest.run("systemctl", "stop", SERVICE)
        guest.run("systemctl", "start", "taskd-vsock.socket")
        assert guest.show("taskd-vsock.socket", "SubState") == {"SubState": "listening"}

        with Conversation(guest) as host:
            host.call("ping")

        assert "LISTEN_FDS=2" in guest.run("cat", f"/proc/{_pid_of(guest)}/environ").split("\0")
