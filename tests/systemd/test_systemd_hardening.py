"""What the unit's hardening does to an agent, asked from inside: `guest_probe.py` runs in the daemon's place."""

import json
import re
from pathlib import Path

import pytest

from tests.systemd.debian_tree import REPO
from tests.systemd.guest_container import Conversation, Guest, GuestError

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(600)]

PROBE = (Path(__file__).parent / "guest_probe.py").read_text()
IN_PLACE_OF_DAEMON = """
[Service]
Type=oneshot
ExecStart=
ExecStart=/usr/bin/python3 /run/probe.py
StandardOutput=file:/run/probe.json
"""
README = (REPO / "systemd/README.md").read_text()
BLOCKS = re.findall(r"# systemctl edit taskd\.service(\n(?:    .+\n)+)", README)
DROP_INS = [block.replace("\n    ", "\n") for block in BLOCKS]
"""What README.md tells users to write; each must leave a service that starts and agents that work."""
AGENTS_CAN = {
    "writes state", "writes home", "writes workspace", "writes tmp", "sees memory size", "writes code and runs it",
    "sandboxes by bubblewrap", "debugs", "opens tcp", "opens netlink", "kills by cgroup",
}  # fmt: skip
AGENTS_CANNOT = {
    "writes etc", "writes usr", "sees login users", "sees tmp of others", "sees init", "opens bluetooth",
    "drives its supervisor", "makes setuid files",
}  # fmt: skip
NO_CAPABILITY_NO_NEW_PRIVILEGES = "0000000000000000 0000000000000000 1"


def _probe(guest: Guest, extra: str = "") -> dict[str, object]:
    """Run the probe as the service would run the daemon, in a guest where others have files too."""
    guest.run("mkdir", "-p", "/home/someone", "/etc/credstore")
    guest.run("touch", "/tmp/of-others")
    guest.run("sh", "-c", "cat > /run/probe.py", stdin=PROBE)
    guest.run("systemctl", "stop", "taskd.service")
    guest.drop_in("taskd.service", IN_PLACE_OF_DAEMON + extra)
    try:
        guest.run("systemctl", "start", "taskd.service")
        told: dict[str, object] = json.loads(guest.run("cat", "/run/probe.json"))
    except (GuestError, ValueError) as error:
        raise GuestError(f"{error}\n{guest.journal()}") from None
    return told


def test_agents_under_the_unit_can_work_and_nothing_more(guest: Guest) -> None:
    told = _probe(guest)
    capabilities, token = told.pop("capabilities"), told.pop("token")

    assert {name for name, can in told.items() if can} == AGENTS_CAN
    assert {name for name, can in told.items() if not can} == AGENTS_CANNOT
    assert capabilities == NO_CAPABILITY_NO_NEW_PRIVILEGES
    assert token is False, "there is no credential in this guest, and none is no error"


def test_probe_tells_the_difference_without_the_hardening(guest: Guest) -> None:
    open_doors = "ProtectSystem=no\nProtectHome=no\nPrivateTmp=no\nInaccessiblePaths=\nProtectProc=default\n"
    told = _probe(guest, open_doors + "RestrictSUIDSGID=no\nRestrictAddressFamilies=\nMemoryDenyWriteExecute=yes\n")

    seen = {"sees login users", "sees tmp of others", "sees init", "drives its supervisor", "makes setuid files"}
    assert {name for name, can in told.items() if can is True} == (AGENTS_CAN | seen) - {"writes code and runs it"}


def test_credentials_of_the_store_reach_the_daemon(guest: Guest) -> None:
    guest.run("mkdir", "-p", "/etc/credstore")
    guest.run("sh", "-c", "umask 077; echo secret > /etc/credstore/taskd.token")

    assert _probe(guest)["token"] == "secret\n"


def test_an_agent_is_given_the_secrets_of_its_own_credential(guest: Guest) -> None:
    guest.run("mkdir", "-p", "/etc/credstore")
    guest.run("sh", "-c", "umask 077; echo API_KEY=sesame > /etc/credstore/taskd.shell.env")
    guest.drop_in("taskd.service", "[Service]\nLoadCredential=shell.env:taskd.shell.env\n")
    guest.run("systemctl", "restart", "taskd.service")

    with Conversation(guest) as host:
        host.turn("task-1", 'echo "$API_KEY" > /srv/taskd/told')

    assert guest.run("cat", "/srv/taskd/told") == "sesame\n"


@pytest.mark.parametrize("drop_in", DROP_INS, ids=["secrets", "watchdog", "home", "open"])
def test_drop_ins_of_the_readme_leave_a_service_that_works(guest: Guest, drop_in: str) -> None:
    guest.run("install", "-d", "-o", "taskd", "/home/me/project")
    guest.drop_in("taskd.service", drop_in)
    guest.run("systemctl", "restart", "taskd.service")

    with Conversation(guest) as host:
        host.turn("task-1", "(ls -d /home/me/project; id -un; touch /etc/of-agent) > /srv/taskd/told 2>&1")

    told = guest.run("cat", "/srv/taskd/told").split("\n")
    assert (told[0] == "/home/me/project") == ("/home/me/project" in drop_in or "User=root" in drop_in)
    assert told[1] == ("root" if "User=root" in drop_in else "taskd")
    assert guest.path("/etc/of-agent").exists() == ("ProtectSystem=no" in drop_in)
