"""A socket as a stream of bytes: partial writes, ends, and a loop that others can still use."""

import socket

import anyio
import pytest

from host_client.socketstream import SocketBytes

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pair(anyio_backend):
    left, right = (SocketBytes(sock) for sock in socket.socketpair())
    yield left, right
    await left.aclose()
    await right.aclose()


async def test_more_than_the_kernel_takes_arrives_whole(pair):
    left, right = pair
    data = bytes(range(256)) * 20_000
    got = bytearray()

    async def read():
        while len(got) < len(data):
            got.extend(await right.receive())

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await left.send(data)

    assert got == data


async def test_what_the_kernel_takes_at_once_is_told(pair):
    left, _ = pair
    assert left.send_now(b"x" * 100) == 100

    taken = left.send_now(b"x" * 50_000_000)
    assert 0 <= taken < 50_000_000
    while left.send_now(b"x" * 1_000_000):
        pass
    assert left.send_now(b"x") in (0, 1)


async def test_the_end_of_the_other_side_is_the_end(pair):
    left, right = pair
    await left.send(b"last words")
    await left.send_eof()

    assert await right.receive() == b"last words"
    with pytest.raises(anyio.EndOfStream):
        await right.receive()
    await right.send(b"and mine")
    assert await left.receive() == b"and mine"


async def test_a_write_to_nobody_is_broken(pair):
    left, right = pair
    await right.aclose()

    with pytest.raises(anyio.BrokenResourceError):
        await left.send(b"x")


async def test_closing_wakes_the_reader(pair):
    left, _ = pair

    async def read():
        with pytest.raises(anyio.ClosedResourceError):
            await left.receive()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            await left.aclose()
            await left.aclose()

    with pytest.raises(anyio.ClosedResourceError):
        await left.receive()
    with pytest.raises(anyio.ClosedResourceError):
        await left.send(b"x")


async def test_a_flood_lets_others_run(pair):
    left, right = pair
    left.send_now(b"x" * 1000)
    turns = []

    async def other():
        turns.append(1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        for _ in range(500):
            await right.receive(1)
            if turns:
                break

    assert turns
