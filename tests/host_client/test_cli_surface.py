"""The commands, their help, and what they cost before they do anything."""

import json
import re
import subprocess
import sys

import pytest

from host_client.cli.app import COMMANDS, SECTIONS
from tests.host_client.taskctl import COMMAND, in_process, plain_env

HEAVY = ("anyio", "asyncio", "msgspec", "host_client.client", "rich")


def test_help_lists_every_command_with_what_it_does():
    page = in_process("--help").out
    for title in SECTIONS:
        assert f"\n{title}:\n" in page
    for name, entry in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(entry.words)}$", page, re.MULTILINE), name


@pytest.mark.parametrize("name", [*sorted(set(COMMANDS) - {"bench"}), ""])
def test_a_help_page_fits_a_terminal_and_shows_the_way(name):
    page = in_process(*([name] if name else []), "--help")
    assert page.code == 0
    assert max(map(len, page.out.split("\n"))) <= 80
    assert "Options" in page.out
    assert "Examples:" in page.out or name not in ("open", "prompt", "answer", "tail", "models", "bash", "demo")


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"bench", "completion", "demo"}))
def test_every_command_takes_the_guest_s_options(name):
    page = in_process(name, "-h").out
    for option in ("--address", "--json", "--token-file", "--dialect", "--take-driver"):
        assert option in page


def test_nobody_who_asks_for_help_waits_for_what_talks_to_guests():
    program = (
        "import sys, json; from host_client.cli.app import run; code = run(sys.argv[1:]); "
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    for arguments in (["--help"], ["prompt", "--help"], ["open", "--help"], ["completion", "bash"]):
        ran = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, env=plain_env(), timeout=20, check=True
        )
        assert json.loads(ran.stdout.split(b"\n")[-2]) == [], arguments


def test_it_runs_as_a_module():
    ran = subprocess.run([*COMMAND, "--version"], capture_output=True, env=plain_env(), timeout=20, check=True)
    assert re.fullmatch(rb"taskctl \d+\.\d+\.\d+\n", ran.stdout)


def test_no_command_at_all_is_help():
    result = in_process()
    assert result.code in (0, 2)
    assert "First steps:" in result.out + result.err
