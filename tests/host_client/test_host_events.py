"""`Client.events`: everything the guest says, to consumers of any speed."""

import anyio
import pytest

from host_client import ConnectionLost, GuestEvent, Lagged, RawLine, connect
from taskd.model.events import AgentOutput, TaskReady

pytestmark = pytest.mark.anyio


async def test_events_come_in_order_with_their_number_and_struct(client, guest):
    events = client.events()
    guest.say("agent_output", "t1", chunk="a")
    guest.say("task_ready", "t1", incarnation=1)

    first, second = await anext(events), await anext(events)
    assert (first.name, first.seq, first.task_id, first.event) == ("agent_output", 1, "t1", AgentOutput(chunk="a"))
    assert (second.seq, second.event, second.at) == (2, TaskReady(incarnation=1), "2026-01-01T00:00:00.000Z")
    assert first.fields() == {"chunk": "a"}


async def test_an_event_that_is_not_known_is_told_by_its_fields(client, guest):
    events = client.events()
    guest.say("some_new_event", "t1", anything=[1])

    item = await anext(events)
    assert (item.name, item.event, item.fields()) == ("some_new_event", None, {"anything": [1]})


async def test_nothing_is_lost_between_asking_for_events_and_the_first_of_them(client, guest):
    events = client.events()
    await client.switch("t2")

    assert [(await anext(events)).name for _ in range(2)] == ["task_switch_started", "task_ready"]


async def test_one_tasks_events_can_be_had_alone(client, guest):
    events = client.events("t2")
    guest.say("agent_output", "t1", chunk="a")
    guest.say("driver_changed", None, held=True)
    guest.say("agent_output", "t2", chunk="b")

    assert [(await anext(events)).name for _ in range(2)] == ["driver_changed", "agent_output"]


async def test_every_subscriber_gets_every_event(client, guest):
    both = [client.events(), client.events()]
    guest.say("agent_output", "t1", chunk="a")

    assert [(await anext(events)).event.chunk for events in both] == ["a", "a"]


async def test_a_consumer_that_never_reads_blocks_nobody_and_costs_its_bound(client, guest):
    lazy = client.events(max_items=10)
    busy = client.events()
    for number in range(1000):
        guest.say("agent_output", "t1", chunk=str(number))

    assert (await client.ping()).at
    for number in range(1000):
        assert (await anext(busy)).event.chunk == str(number)
    assert await anext(lazy) == Lagged(990)
    assert (await anext(lazy)).event.chunk == "990"


async def test_a_consumer_can_stop(client, guest):
    async with client.events() as events:
        guest.say("agent_output", "t1", chunk="a")
        await anext(events)
    guest.say("agent_output", "t1", chunk="b")
    await client.ping()

    assert events.closed
    assert len(events._box) == 1, "what was told while it was open may be there, nothing else"


async def test_a_subscription_that_nobody_holds_is_forgotten(client, guest):
    client.events()
    guest.say("agent_output", "t1", chunk="a")
    await client.ping()

    assert len(client._subscriptions) == 0


async def test_events_end_with_the_client(guest):
    async with connect(guest.dial) as client:
        events = client.events()

    with pytest.raises(StopAsyncIteration):
        await anext(events)


async def test_events_raise_when_the_connection_is_lost_for_good(client, guest):
    events = client.events()
    guest.say("agent_output", "t1", chunk="a")
    guest.drop()

    with anyio.fail_after(10):
        assert (await anext(events)).event.chunk == "a"
        with pytest.raises(ConnectionLost):
            await anext(events)


async def test_raw_agent_lines_are_for_those_who_ask(guest):
    guest.add_task("t1", state="active")
    async with connect(guest.dial, dialect="p0") as client:
        plain, raw = client.events(), client.events(raw=True)
        guest.connections[0].send({"type": "message_update", "text": "hm"})
        guest.say("agent_output", "t1", chunk="a")

        assert isinstance(await anext(raw), RawLine)
        for events in (plain, raw):
            item = await anext(events)
            assert isinstance(item, GuestEvent)
            assert item.seq is None
