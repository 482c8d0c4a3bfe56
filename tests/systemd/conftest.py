"""Fixtures of the `systemd` tier: one tree a session, one booted guest a test.

What the tier needs is told in `install_tools.sh`. What is missing skips it, with the reason; with
TASKD_REQUIRE_SYSTEMD=1 (CI) it fails instead, so that the tier cannot vanish unseen.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd import debian_tree, guest_container
from tests.systemd.guest_container import Guest

TOOLS = ("systemd-nspawn", "mmdebstrap", "nsenter", "systemd-sysusers", "systemctl")


def missing_for_guests() -> str | None:
    """Why no guest can be booted here, or None."""
    if os.geteuid() != 0:
        return "booting a guest needs root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"{', '.join(absent)} not installed: run tests/systemd/install_tools.sh" if absent else None


@pytest.fixture(scope="session")
def tree() -> Iterator[Path]:
    reason = missing_for_guests()
    if reason and os.environ.get("TASKD_REQUIRE_SYSTEMD") == "1":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="taskd-tree-"))
    try:
        yield debian_tree.build_tree(folder / "tree")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def guest(tree: Path) -> Iterator[Guest]:
    with guest_container.booted(tree) as guest:
        yield guest
        # pytest shows it with a test that failed.
        print(guest.journal())
