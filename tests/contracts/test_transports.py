"""The contract of a link: one suite for every transport, on both event loops.

The peer's end is a link too, so that both directions of each kind are driven by the same words. vsock needs the
kernel's loopback module; without it a connect would leave the machine, so those tests are skipped and say so.
"""

import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

import anyio
import anyio.lowlevel
import pytest

from taskd.edge.transports.door import PeerFacts
from taskd.edge.transports.early import bind_early
from taskd.edge.transports.link import Link, SocketLink
from taskd.edge.transports.listener import SocketListener
from taskd.edge.transports.stdio import StdioLink
from taskd.model.address import Address, TcpAddress, UnixAddress, VsockAddress

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 10
"""Bound of every wait; nothing here takes a hundredth of it."""

BIG = bytes(range(256)) * 8192
"""2 MiB: far more than any transport's buffers on both ends together would take with small default sizes."""


class Pair(NamedTuple):
    """Both ends of one connection."""

    ours: Link
    peers: Link


def _client(address: Address) -> socket.socket:
    match address:
        case UnixAddress(path):
            sock, where = socket.socket(socket.AF_UNIX), path
        case TcpAddress(host, port):
            sock, where = socket.socket(socket.AF_INET), (host, port)
        case VsockAddress(port):
            sock, where = socket.socket(socket.AF_VSOCK), (socket.VMADDR_CID_LOCAL, port)
    sock.settimeout(PATIENCE_SECONDS)
    sock.connect(where)
    return sock


@asynccontextmanager
async def _accepted(address: Address) -> AsyncIterator[Pair]:
    listener = SocketListener(bind_early(address))
    try:
        client = SocketLink(_client(listener.address), PeerFacts("peer"))
        pair = Pair(await listener.accept(), client)
        try:
            yield pair
        finally:
            pair.ours.close()
            pair.peers.close()
    finally:
        listener.close()


@asynccontextmanager
async def _unix() -> AsyncIterator[Pair]:
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        async with _accepted(UnixAddress(f"{folder}/s")) as pair:
            yield pair


@asynccontextmanager
async def _tcp() -> AsyncIterator[Pair]:
    async with _accepted(TcpAddress("127.0.0.1", 0)) as pair:
        yield pair


@asynccontextmanager
async def _vsock() -> AsyncIterator[Pair]:
    async with _accepted(VsockAddress(0)) as pair:
        yield pair


@asynccontextmanager
async def _stdio() -> AsyncIterator[Pair]:
    to_us, from_peer = os.pipe()
    to_peer, from_us = os.pipe()
    pair = Pair(StdioLink(to_us, from_us), StdioLink(to_peer, from_peer))
    try:
        yield pair
    finally:
        pair.ours.close()
        pair.peers.close()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


needs_vsock_loopback = pytest.mark.skipif(
    not os.path.isdir("/sys/module/vsock_loopback"), reason="this kernel has no vsock_loopback"
)


@pytest.fixture(
    params=[_unix, _tcp, pytest.param(_vsock, marks=needs_vsock_loopback), _stdio],
    ids=["unix", "tcp", "vsock", "stdio"],
)
def connected(request: pytest.FixtureRequest) -> Callable[[], AbstractAsyncContextManager[Pair]]:
    factory: Callable[[], AbstractAsyncContextManager[Pair]] = request.param
    return factory


@pytest.fixture(autouse=True)
def no_descriptor_is_left_open() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) <= before


async def _write_all(link: Link, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        taken = link.write_now(rest)
        rest = rest[taken:]
        if not taken:
            await link.wait_writable()


async def _write_for_ever(link: Link) -> None:
    while True:
        await _write_all(link, BIG)


async def _read_exactly(link: Link, count: int, step: int = 65536) -> bytes:
    data = bytearray()
    while len(data) < count and (chunk := await link.read(min(step, count - len(data)))):
        data += chunk
    return bytes(data)


async def test_bytes_arrive_in_order_in_both_directions(connected) -> None:
    with anyio.fail_after(PATIENCE_SECONDS):
        async with connected() as (ours, peers):
            for word in (b"one ", b"two ", b"three"):
                await _write_all(peers, word)
                await _write_all(ours, word.upper())
            assert await _read_exactly(ours, 13) == b"one two three"
            assert await _read_exactly(peers, 13) == b"ONE TWO THREE"


async def test_bytes_may_come_one_at_a_time(connected) -> None:
    with anyio.fail_after(PATIENCE_SECONDS):
        async with connected() as (ours, peers):
            for byte in b"one\n":
                await _write_all(peers, bytes([byte]))
                assert await ours.read(100) == bytes([byte])


async def test_a_read_never_gives_more_than_it_was_asked_for(connected) -> None:
    with anyio.fail_after(PATIENCE_SECONDS):
        async with connected() as (ours, peers):
            await _write_all(peers, b"abcdef")
            assert [await ours.read(2) for _ in range(3)] == [b"ab", b"cd", b"ef"]


async def test_a_waiting_read_gets_what_is_written_later(connected) -> None:
    got: list[bytes] = []

    async def read(link: Link) -> None:
        got.append(await link.read(100))

    with anyio.fail_after(PATIENCE_SECONDS):
        async with connected() as (ours, peers), anyio.create_task_group() as group:
            group.start_soon(read, ours)
            await anyio.wait_all_tasks_blocked()
            await _write_all(peers, b"late")
    assert got == [b"late"]


async def test_a_big_write_to_a_reader_that_starts_late_arrives_whole(connected) -> None:
    with anyio.fail_after(PATIENCE_SECONDS):
        async with connected() as (ours, peers), anyio.create_task_group() as group:
            group.start_soon(_write_all, ours, BIG)
            await anyio.wait_all_tasks_blocked()
            assert await _read_exactly(peers, len(BIG), step=10_000) == BIG


async def test_a_write_to_a_peer_that_does_not_read_takes_what_fits_and_then_nothing(connected) -> None:
    with anyio.fail_after(PATIENCE_SECONDS):
        async with connected() as (ours, peers):
            taken = 0
            while more := ours.write_now(BIG):
                taken += more
            assert taken > 0
            assert ours.write_now(b"x") == 0
            assert len(await _read_exactly(peers, taken)) == taken
            await ours.wait_writable()
            assert ours.write_now(b"x") == 1


async def test_the_peers_close_is_the_end_after_all_that_it_sent(connected) -> None:
    with anyio.fail_after(PATIENCE_SECONDS):
        async with connected() as (ours, peers):
            await _write_all(peers, b"last words")
            peers.close()
            assert await _read_exactly(ours, 10) == b"last words"
            assert await ours.read(100) == b""
            assert await ours.read(100) == b""


async def test_a_waiting_read_sees_the_peers_close(connected) -> None:
    got: list[bytes] = []

    async def read(link: Link) -> None:
        got.append(await link.read(100))

    with anyio.fail_after(PATIENCE_SECONDS):
        async with connected() as (ours, peers), anyio.create_task_group() as group:
            group.start_soon(read, ours)
            await anyio.wait_all_tasks_blocked()
            peers.close()
    assert got == [b""]


async def test_writing_to_a_peer_that_is_gone_fails_and_does_not_hang(connected) -> None:
    with anyio.fail_after(PATIENCE_SECONDS):
        async with connected() as (ours, peers):
            peers.close()
            with pytest.raises(OSError, match=r"Broken pipe|Connection reset|not connected"):
                await _write_for_ever(ours)


async def test_a_waiting_writer_learns_that_the_peer_is_gone(connected) -> None:
    failed: list[OSError] = []

    async def write(link: Link) -> None:
        try:
            await _write_for_ever(link)
        except OSError as error:
            failed.append(error)

    with anyio.fail_after(PATIENCE_SECONDS):
        async with connected() as (ours, peers), anyio.create_task_group() as group:
            group.start_soon(write, ours)
            await anyio.wait_all_tasks_blocked()
            peers.close()
    assert failed


async def test_closing_wakes_whoever_reads_or_waits_to_write(connected) -> None:
    woken: list[str] = []

    async def read(link: Link) -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await link.read(100)
        woken.append("reader")

    async def wait(link: Link) -> None:
        while link.write_now(BIG):
            pass
        with pytest.raises(anyio.ClosedResourceError):
            await link.wait_writable()
        woken.append("writer")

    with anyio.fail_after(PATIENCE_SECONDS):
        async with connected() as (ours, _), anyio.create_task_group() as group:
            group.start_soon(read, ours)
            group.start_soon(wait, ours)
            await anyio.wait_all_tasks_blocked()
            ours.close()
    assert sorted(woken) == ["reader", "writer"]


async def test_a_closed_link_refuses_everything_but_another_close(connected) -> None:
    with anyio.fail_after(PATIENCE_SECONDS):
        async with connected() as (ours, _):
            ours.close()
            ours.close()
            with pytest.raises(anyio.ClosedResourceError):
                await ours.read(1)
            with pytest.raises(anyio.ClosedResourceError):
                ours.write_now(b"x")
            with pytest.raises(anyio.ClosedResourceError):
                await ours.wait_writable()


async def test_reading_from_a_peer_that_never_pauses_lets_other_tasks_run(connected) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    with anyio.fail_after(PATIENCE_SECONDS):
        async with connected() as (ours, peers), anyio.create_task_group() as group:
            assert peers.write_now(b"x" * 1000) == 1000
            group.start_soon(count)
            for _ in range(1000):
                await ours.read(1)
            group.cancel_scope.cancel()
    assert turns >= 500


async def test_a_cancelled_read_takes_nothing(connected) -> None:
    with anyio.fail_after(PATIENCE_SECONDS):
        async with connected() as (ours, peers):
            await _write_all(peers, b"kept")
            with anyio.CancelScope() as scope:
                scope.cancel()
                await ours.read(100)
            assert await ours.read(100) == b"kept"


async def test_a_peer_that_only_stops_sending_still_hears_the_answer() -> None:
    with anyio.fail_after(PATIENCE_SECONDS), tempfile.TemporaryDirectory(prefix="t-") as folder:
        listener = SocketListener(bind_early(UnixAddress(f"{folder}/s")))
        with _client(listener.address) as client:
            link = await listener.accept()
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            assert await _read_exactly(link, 100) == b"question"
            assert link.write_now(b"answer") == 6
            assert client.recv(100) == b"answer"
            link.close()
        listener.close()
