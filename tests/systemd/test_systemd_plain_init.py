"""The recipes for guests without systemd, each run for real: the LSB script, OpenRC's, and busybox init as PID 1."""

from pathlib import Path

import pytest

from tests.systemd import guest_container
from tests.systemd.debian_tree import REPO
from tests.systemd.guest_container import Conversation, Guest, GuestError

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(600)]

RECIPES = "/usr/local/share/taskd"
INIT = REPO / "systemd/init"
BUSYBOX_INIT = (
    f"--bind-ro={INIT}/inittab.example:/etc/inittab", f"--bind-ro={INIT}/taskd:/etc/init.d/taskd",
    "--kill-signal=SIGUSR2", "/bin/busybox", "init",
)  # fmt: skip
"""SIGUSR2 is busybox init's word for powering off."""
OPENRC_FOLDERS = (
    "starting", "started", "stopping", "inactive", "wasinactive", "failed", "hotplugged", "daemons", "options",
    "exclusive", "scheduled", "tmp",
)  # fmt: skip


def _without_units(guest: Guest, recipe: str) -> None:
    """Take the units away and put a recipe in /etc/init.d, as in a guest that never had systemd."""
    guest.run("systemctl", "--quiet", "disable", "--now", "taskd.service", "taskd.socket")
    guest.run("cp", f"{RECIPES}/{recipe}", "/etc/init.d/taskd")


def _daemons(guest: Guest) -> list[int]:
    return [int(pid) for pid in guest.run("pgrep", "-u", "taskd", "-f", "taskd serve", check=False).split()]


def _host_sees(guest: Guest) -> int:
    """The pid that the daemon tells over the socket."""
    with Conversation(guest) as host:
        pid: int = host.call("initialize")["serverInfo"]["pid"]
    return pid


def test_lsb_script_starts_stops_and_tells_the_status(guest: Guest) -> None:
    _without_units(guest, "init/taskd")
    guest.run("/etc/init.d/taskd", "start")
    assert guest.run("/etc/init.d/taskd", "status") == f"taskd: runs as {_host_sees(guest)}\n"

    guest.run("/etc/init.d/taskd", "restart")
    assert _daemons(guest) == [_host_sees(guest)]

    guest.run("/etc/init.d/taskd", "stop")
    assert _daemons(guest) == []
    with pytest.raises(GuestError, match="exit 3"):
        guest.run("/etc/init.d/taskd", "status")


def test_lsb_script_tells_a_dead_daemon_and_starts_it_again(guest: Guest) -> None:
    _without_units(guest, "init/taskd")
    guest.run("/etc/init.d/taskd", "start")
    guest.run("kill", "-KILL", *map(str, _daemons(guest)))
    guest.wait_until("dead", lambda: _daemons(guest) == [])

    with pytest.raises(GuestError, match="exit 1"):
        guest.run("/etc/init.d/taskd", "status")
    guest.run("/etc/init.d/taskd", "start")
    assert _daemons(guest) == [_host_sees(guest)]


def test_lsb_script_tells_where_to_look_when_the_daemon_does_not_start(guest: Guest) -> None:
    _without_units(guest, "init/taskd")
    guest.run("sh", "-c", "echo COMMAND=/bin/false > /etc/default/taskd")

    with pytest.raises(GuestError, match=r"did not start, see /var/log/taskd\.log"):
        guest.run("/etc/init.d/taskd", "start")


def test_openrc_starts_supervises_and_stops_it(guest: Guest) -> None:
    _without_units(guest, "openrc/taskd")
    # What a boot with OpenRC leaves: by this it believes that it booted the guest.
    guest.run("mkdir", "-p", *(f"/run/openrc/{name}" for name in OPENRC_FOLDERS))
    guest.run("touch", "/run/openrc/softlevel")
    guest.run("rc-service", "taskd", "start")
    guest.wait_until("door open", guest.path(guest_container.SOCKET).exists)
    first = _host_sees(guest)

    guest.run("kill", "-KILL", str(first))
    guest.wait_until("restarted by supervise-daemon", lambda: _daemons(guest) not in ([], [first]))
    guest.run("rc-service", "taskd", "stop")
    assert _daemons(guest) == []


def test_busybox_init_as_pid_1_respawns_it(tree: Path) -> None:
    with guest_container.booted(tree, init=BUSYBOX_INIT) as guest:
        guest.wait_until("door open", guest.path(guest_container.SOCKET).exists)
        first = _host_sees(guest)

        guest.run("kill", "-KILL", str(first))
        guest.wait_until("respawned", lambda: _daemons(guest) not in ([], [first]))
