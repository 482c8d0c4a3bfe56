"""Telling systemd: what is sent, where to, and that nobody is ever waited for without a bound."""

import os
import socket
import tempfile

import anyio
import pytest

from taskd.edge import notify
from taskd.edge.notify import Notifier, Watchdog, watchdog_interval

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 10


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="t-") as path:
        yield path


@pytest.fixture(params=["file", "abstract"])
def manager(request, folder):
    """Systemd's end: the value of NOTIFY_SOCKET, and the socket that hears."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        where = f"{folder}/n" if request.param == "file" else f"@taskd-test-{os.getpid()}"
        sock.bind(where.replace("@", "\0", 1))
        sock.settimeout(PATIENCE_SECONDS)
        yield where, sock


async def test_the_life_of_a_service_is_told_in_systemds_words(manager) -> None:
    where, sock = manager
    notifier = Notifier.from_environ({"NOTIFY_SOCKET": where})
    assert notifier.heard
    assert await notifier.ready("3 tasks\nknown")
    assert await notifier.status("busy")
    assert await notifier.alive()
    assert await notifier.extend_timeout(1.5)
    assert await notifier.stopping()
    assert [sock.recv(1000) for _ in range(5)] == [
        b"READY=1\nSTATUS=3 tasks known",
        b"STATUS=busy",
        b"WATCHDOG=1",
        b"EXTEND_TIMEOUT_USEC=1500000",
        b"STOPPING=1",
    ]
    notifier.close()
    notifier.close()
    assert not await notifier.alive()


@pytest.mark.parametrize("where", [None, "", "@", "/", "relative", "vsock:2:5", "/nowhere/at/all", "/" + "x" * 200])
async def test_without_a_manager_that_can_be_reached_every_message_is_dropped(where) -> None:
    notifier = Notifier(where)
    assert not notifier.heard
    assert not await notifier.ready()
    notifier.close()


async def test_a_manager_that_goes_away_is_borne(folder) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"{folder}/n")
        notifier = Notifier(f"{folder}/n")
    assert not await notifier.alive()
    notifier.close()


async def _fill(notifier: Notifier) -> None:
    assert notifier._sock is not None
    try:
        while True:
            notifier._sock.send(b"x")
    except BlockingIOError:
        return


async def test_a_message_waits_for_a_manager_that_is_slow(manager) -> None:
    where, sock = manager
    notifier = Notifier(where)
    await _fill(notifier)
    told = []

    async def tell() -> None:
        told.append(await notifier.ready())

    with anyio.fail_after(PATIENCE_SECONDS):
        async with anyio.create_task_group() as group:
            group.start_soon(tell)
            await anyio.wait_all_tasks_blocked()
            assert not told
            while sock.recv(100) != b"READY=1":
                await anyio.lowlevel.checkpoint()
    assert told == [True]
    notifier.close()


async def test_a_message_to_a_manager_that_does_not_read_is_dropped_in_the_end(manager, monkeypatch) -> None:
    monkeypatch.setattr(notify, "NOTIFY_SECONDS", 0.01)
    notifier = Notifier(manager[0])
    await _fill(notifier)
    with anyio.fail_after(PATIENCE_SECONDS):
        assert not await notifier.ready()
    notifier.close()


async def test_the_watchdog_is_fed_while_the_daemon_is_well(manager) -> None:
    where, sock = manager
    notifier = Notifier(where)
    answers = [True, False, True]
    slept: list[float] = []

    class EnoughError(Exception):
        pass

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if not answers:
            raise EnoughError

    with pytest.raises(EnoughError):
        await Watchdog(notifier, 5.0, lambda: answers.pop(0), sleep=sleep).run()
    assert slept == [5.0, 5.0, 5.0]
    assert [sock.recv(100), sock.recv(100)] == [b"WATCHDOG=1"] * 2
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        sock.recv(100)
    notifier.close()


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "10000000"}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "7"}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_PID": "7"}, None),
    ],
)
def test_the_watchdogs_interval_is_a_share_of_systemds_limit(environ, interval) -> None:
    assert watchdog_interval(environ, pid=7, share=0.5) == interval
