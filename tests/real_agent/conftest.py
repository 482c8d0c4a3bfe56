"""Fixtures of the `real_agent` tier: real pi in both dialects, a mock model for each test, and a guest to put them in.

pi 1.5 runs on the pinned Node 22. pi 0.74 runs on the machine's own Node 20 where there is one, since that is what its
users have, and else on the pinned one. What is missing skips the test with the reason and what to run.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kit.mock_model import MockModel
from tests.kit.pi_bench import OLD_DIALECT
from tests.kit.pi_home import PI_NAMES, Missing, PiCommand, find_pi
from tests.real_agent.pi_guest import PiGuest

OLD_NODE = 20
NODE_SECONDS = 20.0
"""How long `node --version` may take."""

STORY = pytest.StashKey[list[str]]()
"""Lines for the end of the run: measurements, which no test asserts on."""


@pytest.fixture(scope="session")
def machine_node() -> str | None:
    """The machine's own Node, if it is the one that pi 0.74 is used with."""
    node = shutil.which("node")
    if node is None:
        return None
    said = subprocess.run([node, "--version"], capture_output=True, timeout=NODE_SECONDS, check=False).stdout.decode()
    found = re.match(r"v(\d+)\.", said)
    return node if found and int(found[1]) == OLD_NODE else None


@pytest.fixture(params=PI_NAMES)
def pi(request: pytest.FixtureRequest, machine_node: str | None) -> PiCommand:
    """One real pi."""
    found = find_pi(request.param)
    if isinstance(found, Missing):
        pytest.skip(found.reason)
    if found.name == OLD_DIALECT and machine_node is not None:
        return replace(found, words=(machine_node, *found.words[1:]))
    return found


@pytest.fixture
def model() -> Iterator[MockModel]:
    """A model of this test's own: its gates stay open and its requests are counted. It costs a few milliseconds."""
    with MockModel() as running:
        yield running


@pytest.fixture
def guest(pi: PiCommand, model: MockModel, tmp_path: Path) -> PiGuest:
    """A place for daemons with this pi."""
    return PiGuest(pi, tmp_path, model)


@pytest.fixture
def tell(pytestconfig: pytest.Config) -> list[str]:
    """Lines put in here are shown at the end of the run."""
    return pytestconfig.stash.setdefault(STORY, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what was measured."""
    if lines := config.stash.get(STORY, []):
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.write_line(line)
