"""The files of `systemd/` without booting anything: systemd's own checks, the limits they share with the daemon, and
that every door the unit leaves open is explained in it.

`systemd-analyze verify` returns 0 even for unknown keys, so its stderr is what counts.
"""

import configparser
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from taskd.agents.registry import PROTOCOLS
from taskd.edge.settings import resolve
from taskd.edge.settings_sources import Surroundings, file_entries
from taskd.model.limits import DEFAULT_LIMITS

SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"
UNITS = ("taskd.service", "taskd.socket", "taskd-vsock.socket")
SCRIPTS = ("init/taskd", "openrc/taskd")
WORST_EXPOSURE = 4.0
CHECK_SECONDS = 30

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze not installed: run tests/systemd/install_tools.sh",
)


def _settings_of(unit: str, section: str) -> dict[str, list[str]]:
    """A section of a unit: every key with all its values, in order."""
    found: dict[str, list[str]] = {}
    inside = ""
    for line in (SYSTEMD / unit).read_text().split("\n"):
        if line.startswith("["):
            inside = line.strip("[]")
        elif line and not line.startswith("#") and inside == section:
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def _service(key: str) -> str:
    (value,) = _settings_of("taskd.service", "Service")[key]
    return value


def _seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def _run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=CHECK_SECONDS, check=False, cwd=cwd)


def _findings() -> list[dict[str, str]]:
    """What `systemd-analyze security` finds open."""
    told = _run("systemd-analyze", "security", "--offline=true", "--json=short", str(SYSTEMD / "taskd.service"))
    findings: list[dict[str, str]] = json.loads(told.stdout)
    return [finding for finding in findings if finding["exposure"]]


@needs_analyze
def test_units_verify_without_a_word(tmp_path: Path) -> None:
    for unit in UNITS:
        shutil.copy(SYSTEMD / unit, tmp_path)
    # `verify` wants to see the program, which is not installed where the tests run.
    assert _service("ExecStart") == "taskd serve"
    (tmp_path / "taskd.service.d").mkdir()
    (tmp_path / "taskd.service.d/program.conf").write_text("[Service]\nExecStart=\nExecStart=/bin/true serve\n")

    told = _run("systemd-analyze", "verify", "--man=no", *(f"./{unit}" for unit in UNITS), cwd=tmp_path)

    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


@needs_analyze
def test_verify_would_tell_an_unknown_key(tmp_path: Path) -> None:
    unit = tmp_path / "taskd.service"
    unit.write_text("[Service]\nExecStart=/bin/true\nNoSuchKey=1\n")

    assert "NoSuchKey" in _run("systemd-analyze", "verify", "--man=no", str(unit)).stderr


@needs_analyze
def test_exposure_is_small() -> None:
    told = _run("systemd-analyze", "security", "--offline=true", str(SYSTEMD / "taskd.service")).stdout
    found = re.search(r"Overall exposure level for taskd\.service: ([0-9.]+)", told)

    assert found is not None, told
    assert float(found[1]) <= WORST_EXPOSURE


@needs_analyze
def test_every_door_left_open_is_named_in_the_unit() -> None:
    text = (SYSTEMD / "taskd.service").read_text()
    named = {finding["name"]: re.split(r"[=/]", finding["name"])[0] for finding in _findings()}

    assert {name for name, setting in named.items() if f"{setting}=" not in text} == set()


def test_unit_waits_longer_for_a_stop_than_the_daemon_takes() -> None:
    assert DEFAULT_LIMITS.shutdown_seconds < _seconds(_service("TimeoutStopSec")) <= 10
    assert _service("KillMode") == "mixed"


def test_unit_speaks_the_readiness_protocol_with_the_daemon_alone() -> None:
    assert (_service("Type"), _service("NotifyAccess")) == ("notify", "main")
    assert _seconds(_service("WatchdogSec")) > 0
    assert (_service("Delegate"), _service("Restart")) == ("yes", "on-failure")


@pytest.mark.parametrize("setting", ["ProtectKernelTunables", "ProtectKernelLogs", "ProtectHostname"])
def test_nothing_is_mounted_over_proc_because_agents_sandboxes_need_a_proc_of_their_own(setting: str) -> None:
    assert _service(setting) == "no"


def test_state_directory_is_the_daemons_and_the_home_inside_is_no_task() -> None:
    state, home = _service("StateDirectory").split()

    assert state == "taskd"
    assert home.startswith("taskd/."), "a task id never starts with a dot"
    assert f"/var/lib/{home} " in (SYSTEMD / "sysusers.d/taskd.conf").read_text()


def test_sockets_start_the_same_service_and_can_be_told_apart() -> None:
    sockets = [_settings_of(unit, "Socket") for unit in UNITS if unit.endswith(".socket")]

    assert [socket["Service"] for socket in sockets] == [["taskd.service"]] * 2
    assert [socket["FileDescriptorName"] for socket in sockets] == [["unix"], ["vsock"]]
    assert [socket["ListenStream"] for socket in sockets] == [["/run/taskd/taskd.sock"], ["vsock::5000"]]


def test_socket_folder_is_not_the_services_to_remove() -> None:
    assert "RuntimeDirectory" not in _settings_of("taskd.service", "Service")
    assert "d /run/taskd 0750 taskd taskd -" in (SYSTEMD / "tmpfiles.d/taskd.conf").read_text()


def test_units_are_plain_ini_and_short_lined() -> None:
    for path in sorted(SYSTEMD.rglob("*")):
        if path.is_file() and path.suffix != ".md":
            assert max(map(len, path.read_text().split("\n"))) <= 120, path
    for unit in UNITS:
        parser = configparser.RawConfigParser(strict=False, allow_no_value=False, delimiters="=")
        parser.read(SYSTEMD / unit)
        assert "Install" in parser.sections()


@pytest.mark.parametrize("script", SCRIPTS)
def test_init_scripts_are_posix_shell_and_executable(script: str) -> None:
    path = SYSTEMD / script

    assert _run("sh", "-n", str(path)).stderr == ""
    assert path.stat().st_mode & 0o111 == 0o111
    code = [line.strip() for line in path.read_text().split("\n") if not line.strip().startswith("#")]
    assert [line for line in code if re.search(r"\[\[|^function |\$'|<<<|&>|^local |^source |==", line)] == []


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck not installed")
def test_init_scripts_pass_shellcheck(script: str) -> None:
    # SC2034: OpenRC reads variables that its script only sets.
    assert _run("shellcheck", "--shell=sh", "--exclude=SC2034", str(SYSTEMD / script)).stdout == ""


def test_inittab_example_respawns_the_script_that_is_shipped() -> None:
    lines = [line for line in (SYSTEMD / "init/inittab.example").read_text().split("\n") if line[:1] not in ("", "#")]
    actions = [line.split(":", 3)[2:] for line in lines]

    assert ["respawn", "/etc/init.d/taskd run >>/var/log/taskd.log 2>&1"] in actions
    assert ["shutdown", "/etc/init.d/taskd stop"] in actions


def test_example_settings_are_settings_that_the_daemon_takes() -> None:
    path = SYSTEMD / "taskd.toml.example"
    everything, switched_on = re.subn(r"(?m)^# (?=[a-z_]+ = )", "", path.read_text())
    around = Surroundings(environ={}, uid=997, home="/var/lib/taskd/.home", cwd="/", pid=10, ppid=1)

    settings = resolve(file_entries(everything.encode(), str(path)), around, PROTOCOLS)

    assert switched_on == 2
    assert [str(address) for address in settings.listen] == ["systemd", "tcp:127.0.0.1:5000"]
    assert settings.state_dir == "/var/lib/taskd"
    assert set(tomllib.loads(everything)["agents"]) <= set(settings.agents)
    assert settings.default_agent in settings.agents
