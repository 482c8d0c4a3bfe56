"""A connection that breaks: what is sent again, what fails, and what a host is told."""

import anyio
import pytest

from host_client import (
    CallTimeout,
    ConnectionLost,
    DialFailed,
    GuestEvent,
    Reconnected,
    SwitchFailed,
    TurnFailed,
    connect,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def steady(guest):
    """A client that comes back by itself."""
    guest.add_task("t1", state="active")
    guest.add_task("t2")
    async with connect(guest.dial, client_id="host", reconnect=8.0, timeout=5.0) as client:
        yield client


async def until(events, kind):
    with anyio.fail_after(10):
        async for item in events:
            if isinstance(item, kind):
                return item
    raise AssertionError(f"no {kind.__name__} came")


async def run(results, call):
    try:
        results.append(await call)
    except Exception as error:
        results.append(error)


async def during(guest, method, breakage, call):
    """Break the connection while a call of `method` waits for its answer, and give what became of it."""
    results = []
    guest.mute.add(method)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, results, call)
            await guest.got(method)
            guest.mute.clear()
            breakage()
    return results[0]


async def test_it_comes_back_by_itself_and_says_so(steady, guest):
    events = steady.events()
    guest.drop()

    assert (await until(events, Reconnected)).same_daemon
    assert steady.connected
    assert steady.mirror.stale is None
    guest.say("agent_output", "t1", chunk="a")
    assert (await until(events, GuestEvent)).event.chunk == "a"


async def test_the_mirror_is_asked_for_anew(steady, guest):
    events = steady.events()
    guest.tasks["t2"]["turnCount"] = 9
    guest.drop()
    await until(events, Reconnected)

    assert steady.mirror.task("t2").turn_count == 9


async def test_a_call_that_is_remembered_by_its_id_is_sent_again_and_has_one_effect(steady, guest):
    release = guest.hold("stop_task")
    results = []
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, results, steady.stop("t1"))
            first = await guest.got("stop_task")
            guest.drop()
            second = await guest.got("stop_task", 2)
            release.set()

    assert results[0].state == "stopped"
    assert (first.id, first.params) == (second.id, second.params)
    assert first.connection is not second.connection
    assert guest.effects == ["stop_task"]


@pytest.mark.parametrize("method", ["get_task", "ping"])
async def test_a_call_that_only_reads_is_sent_again(steady, guest, method):
    call = steady.get_task("t1") if method == "get_task" else steady.ping()

    assert not isinstance(await during(guest, method, guest.drop, call), Exception)


async def test_a_call_that_belongs_to_the_connection_fails_as_maybe_done(steady, guest):
    error = await during(guest, "take_driver", guest.drop, steady.take_driver())

    assert isinstance(error, ConnectionLost)
    assert error.maybe_done


async def test_another_daemon_remembers_nothing_so_a_change_is_not_sent_to_it_again(steady, guest):
    error = await during(guest, "steer", guest.restart, steady.steer("faster", "t1"))

    assert isinstance(error, ConnectionLost)
    assert error.maybe_done
    assert guest.effects == []


async def test_a_change_that_may_be_done_twice_is_sent_to_another_daemon_too(steady, guest):
    events = steady.events()
    result = await during(guest, "stop_task", guest.restart, steady.stop("t2"))

    assert result.state == "stopped"
    assert not (await until(events, Reconnected)).same_daemon


async def test_calls_made_while_there_is_no_connection_wait_for_it(steady, guest):
    guest.accepting = False
    guest.drop()
    dials = guest.dials
    with anyio.fail_after(10):
        while steady.connected or guest.dials < dials + 2:
            await anyio.lowlevel.checkpoint()
        with pytest.raises(CallTimeout) as caught:
            await steady.stop("t1", timeout=0.01)
        assert not caught.value.maybe_done
        guest.accepting = True
        assert (await steady.ping()).at
    assert guest.effects == []


async def test_a_guest_that_does_not_come_back_ends_everything_at_the_deadline(guest):
    guest.add_task("t1", state="active")
    guest.mute.add("ping")
    guest.ack_only.add("prompt")
    results = []
    with anyio.fail_after(10):
        async with connect(guest.dial, reconnect=0.1) as client, anyio.create_task_group() as tasks:
            turn = await client.prompt("t1", "Hi").start()
            events = client.events()
            tasks.start_soon(run, results, client.ping())
            tasks.start_soon(run, results, client.switch("t1"))
            await guest.done("switch_task")
            guest.accepting = False
            guest.mute.add("switch_task")
            guest.drop()
            with pytest.raises(ConnectionLost):
                await turn
            with pytest.raises(ConnectionLost):
                await until(events, Reconnected)
            with pytest.raises(ConnectionLost):
                await client.get_state()

            guest.accepting = True
            guest.mute.clear()
            await client.reconnect(5.0)
            assert (await client.ping()).at
            assert isinstance(await anext(events), Reconnected)

    assert any(isinstance(result, ConnectionLost) for result in results)


async def test_without_the_option_a_lost_connection_fails_what_waits_and_can_be_made_again(client, guest):
    events = client.events()
    error = await during(guest, "stop_task", guest.drop, client.stop("t1"))
    assert isinstance(error, ConnectionLost)
    assert error.maybe_done
    with pytest.raises(ConnectionLost):
        await anext(events)
    with pytest.raises(ConnectionLost) as caught:
        await client.ping()
    assert not caught.value.maybe_done

    await client.reconnect()
    assert (await client.ping()).at
    assert (await anext(events)).same_daemon


async def test_a_live_connection_can_be_made_anew_under_waiting_calls(client, guest):
    release = guest.hold("stop_task")
    results = []
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, results, client.stop("t1"))
            await guest.got("stop_task")
            await client.reconnect()
            await guest.got("stop_task", 2)
            release.set()

    assert results[0].state == "stopped"
    assert guest.effects == ["stop_task"]
    assert guest.dials == 2


async def test_a_reconnect_that_fails_says_why_and_can_be_tried_again(client, guest):
    guest.accepting = False
    with pytest.raises(DialFailed, match="refused"):
        await client.reconnect(0.05)
    assert not client.connected

    guest.accepting = True
    await client.reconnect(5.0)
    assert (await client.ping()).at


async def test_two_who_reconnect_share_one_connection(client, guest):
    guest.drop()
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.reconnect)
            tasks.start_soon(client.reconnect)

    assert guest.dials == 2
    assert (await client.ping()).at


async def test_a_switch_that_was_done_meanwhile_is_seen_in_the_state(steady, guest):
    guest.ack_only.add("switch_task")
    results = []
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, results, steady.switch("t2"))
            await guest.done("switch_task")
            await steady.ping()
            guest.drop()
            guest.make_active("t2")

    assert results[0].task_id == "t2"


async def test_a_switch_is_looked_for_also_without_a_mirror(guest):
    guest.add_task("t2")
    guest.ack_only.add("switch_task")
    results = []
    with anyio.fail_after(10):
        async with connect(guest.dial, reconnect=8.0, mirror=False) as client, anyio.create_task_group() as tasks:
            await client.get_state()
            tasks.start_soon(run, results, client.switch("t2"))
            await guest.done("switch_task")
            await client.ping()
            guest.drop()
            guest.make_active("t2")
            while not results:
                await anyio.lowlevel.checkpoint()

    assert results[0].task_id == "t2"


async def test_a_switch_whose_task_died_meanwhile_fails(steady, guest):
    guest.ack_only.add("switch_task")
    results = []
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, results, steady.switch("t2"))
            await guest.done("switch_task")
            await steady.ping()
            guest.drop()
            guest.tasks["t2"] |= {"state": "errored", "lastError": "exit code 1"}

    assert isinstance(results[0], SwitchFailed)


async def test_a_switch_whose_acknowledgement_was_lost_is_seen_in_the_state(steady, guest):
    release = guest.hold("switch_task")
    results = []
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, results, steady.switch("t2"))
            first = await guest.got("switch_task")
            guest.connections.clear()
            release.set()
            await guest.done("switch_task")
            first.connection.hang_up()

    assert results[0].task_id == "t2"
    assert guest.effects == ["switch_task"]


async def test_a_driver_drives_again_even_if_the_guest_still_holds_its_old_channel(steady, guest):
    await steady.take_driver()
    old = guest.driver
    events = steady.events()
    guest.drop()
    await until(events, Reconnected)
    await steady.ping()

    assert guest.driver not in (None, old)
    assert steady.drives
    assert [request.params.get("force", False) for request in guest.requests if request.method == "take_driver"] == [
        False,
        False,
        True,
    ]


async def test_a_driver_does_not_take_the_lease_from_another_host(steady, guest):
    await steady.take_driver()
    events = steady.events()
    guest.driver = 77
    guest.drop()
    await until(events, Reconnected)

    assert guest.driver == 77
    assert not steady.drives


async def test_an_observer_stays_one(steady, guest):
    events = steady.events()
    guest.drop()
    await until(events, Reconnected)

    assert guest.driver is None


async def running_turn(client, guest):
    guest.ack_only.add("prompt")
    turn = await client.prompt("t1", "Hi").start()
    guest.begin_turn("t1")
    guest.say("agent_output", "t1", chunk="Hal")
    await client.ping()
    return turn


async def test_a_turn_goes_on_and_its_text_is_made_whole_from_the_session(steady, guest):
    turn = await running_turn(steady, guest)
    events = steady.events()
    guest.drop()
    guest.say("agent_output", "t1", chunk="f an an")
    await until(events, Reconnected)
    guest.say("agent_output", "t1", chunk="swer")
    guest.end_turn("t1", "Half an answer")

    items = [item async for item in turn]
    assert [item.chunk for item in items if not isinstance(item, Reconnected)] == ["Hal", "swer"]
    assert any(isinstance(item, Reconnected) for item in items)
    assert (turn.result.text, turn.result.complete) == ("Half an answer", True)


async def test_a_turn_that_ended_meanwhile_is_found_in_the_session(steady, guest):
    turn = await running_turn(steady, guest)
    guest.drop()
    guest.end_turn("t1", "The whole answer")

    with anyio.fail_after(10):
        result = await turn
    assert (result.text, result.turn_number, result.usage.total_tokens) == ("The whole answer", 1, 7)


@pytest.mark.parametrize(("state", "code"), [("errored", "PI_PROCESS_DEAD"), ("stopped", "TASK_NOT_READY")])
async def test_a_turn_that_is_gone_fails(steady, guest, state, code):
    turn = await running_turn(steady, guest)
    guest.drop()
    guest.tasks["t1"] |= {"state": state, "turnId": None, "promptInFlight": False}

    with anyio.fail_after(10), pytest.raises(TurnFailed) as caught:
        await turn
    assert caught.value.code == code


async def test_a_prompt_whose_answer_was_lost_is_one_turn(steady, guest):
    release = guest.hold("prompt")
    results = []
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, results, steady.prompt("t1", "Hi").wait())
            first = await guest.got("prompt")
            guest.connections.clear()
            release.set()
            await guest.done("prompt")
            first.connection.hang_up()

    assert results[0].text == "Hello, world."
    assert guest.effects == ["prompt"]


async def test_a_guest_that_gives_no_sign_of_life_is_left(guest):
    guest.add_task("t1", state="active")
    with anyio.fail_after(10):
        async with connect(guest.dial, reconnect=5.0, heartbeat=0.05) as client:
            events = client.events()
            guest.mute.add("ping")
            await guest.got("ping")
            await until(events, Reconnected)
            assert client.connected

    assert guest.dials >= 2
