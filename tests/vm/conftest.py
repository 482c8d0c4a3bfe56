"""Fixtures of the `vm` tier: one machine for all tests, booted anew only after a test that switched it off.

What the tier needs is told in `install_tools.sh`. What is missing skips it, with the reason; with TASKD_REQUIRE_VM=1
(CI) it fails instead, so that the tier cannot vanish unseen.
"""

import contextlib
import os
import platform
import shutil
from collections.abc import AsyncIterator, Iterator

import pytest

from host_client import connect
from host_client.client import Client
from tests.vm import guest_image
from tests.vm.guest_image import Image
from tests.vm.virtual_machine import PORT, WAIT_SECONDS, Machine, booted

TOOLS = ("qemu-system-x86_64", "setpriv")
BUILD_TOOLS = ("mmdebstrap",)
"""Needed until the image is in the cache."""
SETTINGS = (
    f"taskd.listen=vsock:{PORT}", "taskd.log-format=json", "taskd.limits.outbox_bytes=262144",
    "taskd.limits.close_flush_seconds=20", 'taskd.env_pass="PATH HOME"',
)  # fmt: skip
"""What the daemon is told on the kernel's command line."""


def missing_for_machines() -> str | None:
    """Why no machine can be booted here, or None."""
    if platform.machine() != "x86_64":
        return f"the guest is built for x86_64, and this is {platform.machine()}"
    needed = TOOLS if guest_image.is_cached() else (*TOOLS, *BUILD_TOOLS)
    absent = [tool for tool in needed if shutil.which(tool) is None]
    return f"{', '.join(absent)} not installed: run tests/vm/install_tools.sh" if absent else None


class Rack:
    """Holds the machine that runs."""

    def __init__(self, image: Image, stack: contextlib.ExitStack) -> None:
        self._image = image
        self._stack = stack
        self._machine: Machine | None = None

    def machine(self) -> Machine:
        """Give the machine, booted if none runs."""
        if self._machine is None or not self._machine.running:
            self._machine = self._stack.enter_context(booted(self._image, *SETTINGS))
        return self._machine


@pytest.fixture(scope="session")
def rack() -> Iterator[Rack]:
    reason = missing_for_machines()
    if reason and os.environ.get("TASKD_REQUIRE_VM") == "1":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:
        yield Rack(guest_image.cached_image(), stack)


@pytest.fixture
def machine(rack: Rack) -> Iterator[Machine]:
    machine = rack.machine()
    yield machine
    # pytest shows it with a test that failed.
    print(machine.console()[-6000:])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client(machine: Machine, anyio_backend: str) -> AsyncIterator[Client]:
    """A host outside of the machine that comes back by itself."""
    async with connect(machine.address, wait=WAIT_SECONDS, reconnect=WAIT_SECONDS) as client:
        yield client
