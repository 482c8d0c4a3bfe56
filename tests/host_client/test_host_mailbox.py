"""The box between the reader and a slow consumer: bounded, in order, and clear about what it dropped."""

import anyio
import pytest

from host_client.errors import ConnectionLost
from host_client.mailbox import Closed, Mailbox
from host_client.notices import Lagged

pytestmark = pytest.mark.anyio


async def test_items_come_out_in_order():
    box = Mailbox()
    for item in "abc":
        box.put(item)

    assert [await box.get() for _ in range(3)] == ["a", "b", "c"]


async def test_a_full_box_drops_the_oldest_and_says_how_many():
    box = Mailbox(max_items=3)
    for item in range(10):
        box.put(item)

    assert [await box.get() for _ in range(4)] == [Lagged(7), 7, 8, 9]
    box.put(10)
    assert await box.get() == 10


async def test_a_heavy_box_drops_too_but_keeps_the_newest():
    box = Mailbox(max_bytes=100)
    for item in ("a", "b", "c"):
        box.put(item, 60)

    assert [await box.get() for _ in range(2)] == [Lagged(2), "c"]


async def test_a_consumer_is_woken_by_the_next_item():
    box = Mailbox()
    found = []

    async def consume():
        found.append(await box.get())

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(consume)
            tasks.start_soon(consume)
            await anyio.wait_all_tasks_blocked()
            box.put("a")
            box.put("b")

    assert sorted(found) == ["a", "b"]


async def test_a_closed_box_gives_what_it_holds_and_then_ends():
    box = Mailbox()
    box.put("a")
    box.close()

    assert await box.get() == "a"
    with pytest.raises(Closed):
        await box.get()


async def test_a_box_closed_with_an_error_raises_it_until_it_is_opened_again():
    box = Mailbox()
    box.close(ConnectionLost("gone"))
    for _ in range(2):
        with pytest.raises(ConnectionLost):
            await box.get()

    box.reopen()
    box.put("a")
    assert await box.get() == "a"


async def test_a_busy_consumer_lets_others_run():
    box = Mailbox()
    for item in range(1000):
        box.put(item)
    others = []

    async def other():
        others.append(len(box))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        for _ in range(1000):
            await box.get()

    assert others[0] > 0
