"""One daemon for the tests of a file; each test has tasks of its own."""

import re

import pytest

from tests.host_client.taskctl import Taskctl
from tests.kit.daemon import Daemon, fake_agent

SETTINGS = """
[limits]
probe_fresh_seconds = 0.001
[agents.broken]
protocol = "pi"
command = ["/bin/sh", "-c", "echo no key was given, and that is a long story of many words >&2; exit 3"]
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    with Daemon(tmp_path_factory.mktemp("guest"), fake_agent(default=False) + SETTINGS) as running:
        yield running


@pytest.fixture
def taskctl(daemon, monkeypatch):
    for name in ("TASKD_ADDRESS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return Taskctl(daemon)


@pytest.fixture
def task(request):
    """A task's name that no other test has."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).removeprefix("test-")[:100].strip("-")
