"""`Client.switch` against a guest: the hard deadline, and a client that stays usable."""

import anyio
import pytest

from host_client import GuestError, SwitchFailed, SwitchSuperseded, SwitchTimeout, connect
from tests.kit.fake_guest_wire import Refusal

pytestmark = pytest.mark.anyio


async def test_a_switch_returns_when_the_task_is_ready(client, guest):
    switched = await client.switch("t2")

    assert (switched.task_id, switched.incarnation) == ("t2", 1)
    assert switched.seconds > 0
    assert client.mirror.active_task_id == "t2"


async def test_a_switch_to_the_active_task_succeeds_too(client):
    assert (await client.switch("t1")).task_id == "t1"


async def test_p0_switches_as_well(guest):
    guest.add_task("t1", state="active")
    guest.add_task("t2")

    async with connect(guest.dial, dialect="p0") as client:
        assert (await client.switch("t2")).task_id == "t2"
        assert client.mirror.active_task_id == "t2"


@pytest.mark.parametrize("silent_after", ["the request", "the acknowledgement", "the start"])
async def test_the_hard_deadline_raises_and_leaves_the_client_usable(client, guest, silent_after):
    if silent_after == "the request":
        guest.mute.add("switch_task")
    else:
        guest.ack_only.add("switch_task")

    async def start():
        if silent_after != "the request":
            await guest.done("switch_task")
        if silent_after == "the start":
            guest.say("task_switch_started", "t2")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(start)
        with pytest.raises(SwitchTimeout) as caught:
            await client.switch("t2", timeout=0.05)
    assert (caught.value.task_id, caught.value.seconds) == ("t2", 0.05)

    guest.mute.clear()
    guest.ack_only.clear()
    assert (await client.switch("t1")).task_id == "t1"
    assert (await client.prompt("t1", "Hi")).text == "Hello, world."


async def test_a_late_ready_of_a_timed_out_switch_does_not_end_the_next_one(client, guest):
    guest.ack_only.add("switch_task")
    with pytest.raises(SwitchTimeout):
        await client.switch("t2", timeout=0.02)

    done = []

    async def switch():
        done.append(await client.switch("t1"))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(switch)
            await guest.done("switch_task", 2)
            guest.say("task_switch_started", "t1")
            guest.say("task_ready", "t2", incarnation=1)
            await client.ping()
            assert done == []
            guest.say("task_ready", "t1", incarnation=1)

    assert done[0].task_id == "t1"


async def test_ready_right_behind_the_acknowledgement_is_not_missed(client, guest):
    release = guest.hold("switch_task")
    done = []

    async def switch():
        done.append(await client.switch("t2"))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(switch)
            await guest.got("switch_task")
            release.set()

    assert done[0].task_id == "t2"


async def test_another_switch_supersedes_it(client, guest):
    guest.add_task("t3")
    guest.ack_only.add("switch_task")
    failures = []

    async def switch():
        with pytest.raises(SwitchSuperseded) as caught:
            await client.switch("t2")
        failures.append(caught.value)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(switch)
            await guest.done("switch_task")
            guest.say("task_switch_started", "t2")
            guest.say("task_switch_started", "t3")

    assert failures[0].by == "t3"


async def test_a_task_that_dies_on_the_way_fails_the_switch_with_its_code(client, guest):
    guest.ack_only.add("switch_task")
    failures = []

    async def switch():
        with pytest.raises(SwitchFailed) as caught:
            await client.switch("t2")
        failures.append(caught.value)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(switch)
            await guest.done("switch_task")
            error = {"code": "PI_PROCESS_DEAD", "message": "exit code 1", "retryable": True}
            guest.say("task_error", "t2", incarnation=1, **error)

    assert (failures[0].code, failures[0].retryable) == ("PI_PROCESS_DEAD", True)


async def test_a_refusal_comes_at_once(client, guest):
    with pytest.raises(GuestError) as caught:
        await client.switch("t9")
    assert caught.value.code == "TASK_NOT_FOUND"


async def test_a_guest_that_gives_up_first_raises_the_same_timeout(client, guest):
    guest.refuse["switch_task"] = Refusal("SWITCH_TIMEOUT", "no sign of life", retryable=True)

    with pytest.raises(SwitchTimeout) as caught:
        await client.switch("t2")
    assert caught.value.by_guest


async def test_switches_of_one_client_do_not_disturb_each_other(client, guest):
    async def switch(task_id):
        try:
            await client.switch(task_id)
        except SwitchSuperseded:
            return

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(switch, f"t{1 + number % 2}")

    assert client.mirror.active_task_id == guest.active
    assert client._switches == set()
