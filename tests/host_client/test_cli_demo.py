"""`taskctl demo`: the story, its table, and that nothing of it is left, however it ends."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from host_client.cli.demo.stage import BUILT_IN, SYSTEM_SETTINGS, choose_agent, find_settings
from taskd.model.calls import AgentProfile
from tests.host_client.cli_fixtures import SETTINGS
from tests.host_client.taskctl import COMMAND, PATIENCE_SECONDS, finish, plain_env
from tests.kit.daemon import fake_agent

SHELL = ("--agent", "shell")


@pytest.fixture
def folder(tmp_path):
    """Where the demo makes its temporary folder."""
    folder = tmp_path / "t"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "taskd.toml"
    path.write_text(fake_agent() + SETTINGS)
    return str(path)


@pytest.fixture
def start(folder):
    """Start a demo as a process."""
    started = []

    def start(*flags):
        process = subprocess.Popen(
            [*COMMAND, "demo", *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=plain_env() | {"TMPDIR": str(folder)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        finish(process)


@pytest.fixture
def play(start):
    def play(*flags):
        return finish(start(*flags))

    return play


def working_in(folder):
    """Give the processes that work below a folder."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{name}/cwd").startswith(f"{folder}/"):
                found.append(int(name))
        except OSError:
            continue
    return found


def test_the_story_is_told_with_its_table_and_nothing_is_left(play, folder):
    result = play(*SHELL)
    assert (result.code, result.err) == (0, "")
    for part in ("1. Two tasks.", "2. One task is active", "3. An agent is killed", "4. The daemon is stopped"):
        assert part in result.out
    assert "apples → you:  I am apples" in result.out
    assert "the host is told: PI_PROCESS_DEAD" in result.out
    assert "open apples: recovered with 1 turn" in result.out
    assert "open pears: resumed with 1 turn" in result.out
    assert list(folder.iterdir()) == []
    lines = result.out.split("\n")
    table = lines[next(number for number, line in enumerate(lines) if line.startswith("what happened")) + 1 :]
    rows = {line.split("  ")[0]: line for line in table[: table.index("")]}
    assert list(rows) == [
        "start the daemon",
        "open apples and pears",
        "a prompt to apples",
        "a prompt to pears",
        "a switch, median of 50",
        "kill an agent in a turn",
        "recover apples",
        "a prompt after the crash",
        "stop the daemon",
        "start it again",
        "resume pears",
        "a prompt after the restart",
        "stop it again",
    ]
    assert all(line.endswith(" ms") for line in rows.values())
    assert "active" in rows["a switch, median of 50"]


def test_programs_get_the_steps(play, folder):
    result = play("--json", *SHELL)
    *steps, last = result.values
    assert result.code == 0
    assert {"step": "recover apples", "result": "a new agent answers"}.items() <= steps[6].items()
    assert last["result"] == {"agent": "shell", "seconds": last["result"]["seconds"], "steps": len(steps)}


def test_the_folder_can_be_kept(play, folder):
    result = play("--keep", *SHELL)
    (kept,) = folder.iterdir()
    assert str(kept) in result.out
    session = json.loads((kept / "state" / "apples" / "session.json").read_bytes())
    assert session["body"]["turnCount"] == 2


def test_another_agent_plays_if_the_settings_say_so(play, settings):
    result = play("--config", settings)
    assert (result.code, result.err) == (0, "")
    assert "the agent fake" in result.out
    assert "you → pears:  Remember this word: pears." in result.out
    assert "PI_PROCESS_DEAD" in result.out


def test_an_agent_that_does_not_start_is_explained(play, settings, folder):
    result = play("--config", settings, "--agent", "broken")
    assert result.code == 1
    assert "no key was given" in result.err
    assert list(folder.iterdir()) == []


def test_settings_that_are_wrong_are_explained(play, tmp_path, folder):
    (tmp_path / "wrong.toml").write_text("default_agent = 7")
    result = play("--config", str(tmp_path / "wrong.toml"))
    assert result.code == 1
    assert "default_agent" in result.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_demo_that_is_stopped_leaves_nothing(start, folder, number, code):
    process = start(*SHELL)
    while b"pears" not in process.stdout.readline():
        pass
    assert working_in(folder)
    result = finish(process, number)
    assert result.code == code
    assert "Traceback" not in result.err
    assert working_in(folder) == []
    assert list(folder.iterdir()) == []


def test_a_path_that_is_too_long_for_a_socket_is_not_used(tmp_path):
    long = tmp_path / ("x" * 90)
    long.mkdir()
    ran = subprocess.run(
        [*COMMAND, "demo", "--json", *SHELL],
        env=plain_env() | {"TMPDIR": str(long)},
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_which_agent_plays():
    shell = AgentProfile(name="shell", protocol="pi", is_default=True)
    spare = AgentProfile(name="shell", protocol="pi", is_default=False)
    other = AgentProfile(name="other", protocol="acp", is_default=True)
    pi = AgentProfile(name="pi", protocol="pi", is_default=False)
    assert choose_agent(None, [shell]) == BUILT_IN
    assert choose_agent(None, []) == BUILT_IN
    assert choose_agent(None, [shell, pi]) == "pi"
    assert choose_agent(None, [spare, other, pi]) == "other"
    assert choose_agent("shell", [spare, other, pi]) == "shell"


def test_which_settings_are_used(tmp_path):
    own = tmp_path / "own.toml"
    own.touch()
    environ = {"TASKD_CONFIG": str(own)}
    assert find_settings("named.toml", None, environ) == Path("named.toml").absolute()
    assert find_settings(None, None, environ) == own
    assert find_settings(None, "pi", environ) == own
    assert find_settings(None, "shell", environ) is None
    assert find_settings(None, None, {"TASKD_CONFIG": str(tmp_path / "none")}) is None
    assert find_settings(None, None, {}) in (None, SYSTEM_SETTINGS)
