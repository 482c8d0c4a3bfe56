"""Standard streams as a link: terminals, plain files and pipes, and nothing left behind in what is shared."""

import os
import subprocess
import sys

import anyio
import pytest

from taskd.edge.transports.stdio import StdioLink, StdioListener

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 10


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_plain_files_are_always_ready(tmp_path) -> None:
    (tmp_path / "in").write_bytes(b"question\n")
    read_fd = os.open(tmp_path / "in", os.O_RDONLY)
    write_fd = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    link = StdioLink(read_fd, write_fd)
    with anyio.fail_after(PATIENCE_SECONDS):
        assert await link.read(100) == b"question\n"
        assert await link.read(100) == b""
        await link.wait_writable()
        assert link.write_now(b"answer\n") == 7
    link.close()
    assert (tmp_path / "out").read_bytes() == b"answer\n"


async def test_an_empty_device_ends_at_once() -> None:
    link = StdioLink(os.open("/dev/null", os.O_RDONLY), os.open("/dev/null", os.O_WRONLY))
    with anyio.fail_after(PATIENCE_SECONDS):
        assert await link.read(100) == b""
        await link.wait_writable()
        assert link.write_now(b"x") == 1
    link.close()


async def test_a_terminal_works_and_its_mode_is_put_back() -> None:
    ours, theirs = os.openpty()
    link = StdioLink(os.dup(theirs), os.dup(theirs))
    assert not os.get_blocking(theirs), "the mode belongs to the open file, so the shell's descriptor has it too"
    with anyio.fail_after(PATIENCE_SECONDS):
        os.write(ours, b"hello\n")
        assert await link.read(100) == b"hello\n"
        assert link.write_now(b"hi") == 2
    link.close()
    assert os.get_blocking(theirs)
    os.close(theirs)
    os.close(ours)


async def test_a_terminal_that_hangs_up_is_the_end() -> None:
    ours, theirs = os.openpty()
    link = StdioLink(os.dup(theirs), theirs)
    os.close(ours)
    with anyio.fail_after(PATIENCE_SECONDS):
        assert await link.read(100) == b""
    link.close()


async def test_what_was_non_blocking_before_stays_so() -> None:
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    shared = os.dup(writable), os.dup(readable)
    StdioLink(readable, writable).close()
    assert [os.get_blocking(fd) for fd in shared] == [False, True]
    for fd in shared:
        os.close(fd)


async def test_the_door_gives_its_link_once_and_then_waits_for_the_end() -> None:
    readable, writable = os.pipe()
    listener = StdioListener(StdioLink(readable, writable))
    ended = []

    async def accept_again() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await listener.accept()
        ended.append(True)

    with anyio.fail_after(PATIENCE_SECONDS):
        link = await listener.accept()
        async with anyio.create_task_group() as group:
            group.start_soon(accept_again)
            await anyio.wait_all_tasks_blocked()
            assert not ended
            listener.close()
    assert ended
    assert str(listener.address) == "stdio"
    assert link.peer.transport == "stdio"
    link.close()


async def test_a_door_that_closes_first_closes_its_link_too() -> None:
    readable, writable = os.pipe()
    listener = StdioListener(StdioLink(readable, writable))
    listener.close()
    with anyio.fail_after(PATIENCE_SECONDS), pytest.raises(anyio.ClosedResourceError):
        await listener.accept()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(readable)


CLAIMS = """
import os, subprocess, sys
from taskd.edge.transports.stdio import claim_stdio
link = claim_stdio()
print("stray print", flush=True)
subprocess.run(["sh", "-c", "echo stray child; cat"])
link.write_now(b"channel")
"""
"""Ends without closing the link, as a fault would: putting the mode back is left to atexit."""


def test_stray_output_cannot_reach_the_channel_and_children_cannot_read_from_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLAIMS],
        input=b"for the daemon",
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    assert done.stdout == b"channel"
    assert done.stderr == b"stray print\nstray child\n"


def test_the_mode_of_shared_streams_is_put_back_at_exit() -> None:
    readable, writable = os.pipe()
    subprocess.run(
        [sys.executable, "-c", CLAIMS],
        stdin=readable, stdout=writable, stderr=subprocess.DEVNULL, timeout=PATIENCE_SECONDS, check=True,
    )  # fmt: skip
    assert [os.get_blocking(fd) for fd in (readable, writable)] == [True, True]
    os.close(readable)
    os.close(writable)
