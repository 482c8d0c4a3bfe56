"""One connection below its calls: order, bounds, and every way to end."""

import anyio
import pytest
from anyio.abc import ByteStream

from host_client import channel as channel_module
from host_client.channel import Channel
from host_client.errors import TooManyCalls
from tests.kit.fake_guest_wire import memory_pair

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pair(anyio_backend):
    theirs, ours = memory_pair(pieces=1)
    yield theirs, ours
    await theirs.aclose()
    await ours.aclose()


async def test_lines_go_out_in_order_and_bytes_come_in_as_they_are(pair):
    theirs, ours = pair
    channel, pieces, left = Channel(theirs), [], []
    for number in range(3):
        channel.write(b"%d\n" % number, lambda number=number: left.append(number))
    assert left == [], "nothing is on the wire before the connection runs"

    async def guest():
        got = b""
        while len(got) < 6:
            got += await ours.receive()
        assert got == b"0\n1\n2\n"
        await ours.send(b"ab")
        await ours.send(b"c\n")
        await ours.aclose()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(guest)
            assert await channel.run(pieces.append) == "the guest closed the connection"

    assert (pieces, left) == ([b"ab", b"c\n"], [0, 1, 2])
    assert channel.ended.is_set()


async def test_a_guest_that_does_not_read_costs_its_bound(pair, monkeypatch):
    monkeypatch.setattr(channel_module, "MAX_OUTBOX_BYTES", 1000)
    channel = Channel(pair[0])

    channel.write(b"x" * 5000)
    with pytest.raises(TooManyCalls):
        channel.write(b"x")


async def test_it_can_be_closed_before_it_runs_and_says_why(pair):
    channel = Channel(pair[0])
    channel.close("not wanted")

    with anyio.fail_after(10):
        assert await channel.run(lambda _: None) == "not wanted"


class HalfDead(ByteStream):
    """Takes nothing and says nothing, and does not end."""

    closed = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await anyio.sleep_forever()

    async def send(self, item: bytes) -> None:
        raise anyio.BrokenResourceError from OSError(32, "Broken pipe")

    async def send_eof(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        self.closed = True


async def test_a_stream_that_takes_nothing_more_is_given_up_although_it_does_not_end(monkeypatch):
    monkeypatch.setattr(channel_module, "CLOSE_SECONDS", 0.02)
    stream = HalfDead()
    channel = Channel(stream)
    channel.write(b"x\n")

    with anyio.fail_after(10):
        assert "Broken pipe" in await channel.run(lambda _: None)
    assert stream.closed


async def test_a_flush_waits_for_the_outbox_but_not_for_ever(pair, monkeypatch):
    theirs, ours = pair
    channel = Channel(theirs)
    for _ in range(5):
        channel.write(b"x\n")

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(channel.run, lambda _: None)
            with monkeypatch.context() as patch:
                patch.setattr(channel_module, "CLOSE_SECONDS", 0.02)
                await channel.flush()
            for _ in range(5):
                await ours.receive()
            await channel.flush()
            channel.close("done")
