"""A connected client: the greeting, every typed call in both dialects, refusals, deadlines, and its end."""

import anyio
import msgspec
import pytest

from host_client import CallTimeout, ConnectionLost, DialFailed, GuestError, TooManyCalls, connect, errors, rpc
from host_client.errors import BadAnswer
from taskd.model.records import Turn
from tests.kit.fake_guest import FakeGuest
from tests.kit.fake_guest_wire import Refusal, memory_pair

pytestmark = pytest.mark.anyio


async def test_the_greeting_says_who_is_there_and_fills_the_mirror(guest):
    guest.add_task("t1", state="active")
    guest.seq = 41

    async with connect(guest.dial, client_id="host", client_info={"name": "ide"}) as client:
        hello = (await guest.got("initialize")).params
        assert (hello["clientId"], hello["clientInfo"], hello["protocolVersion"]) == ("host", {"name": "ide"}, 1)
        assert len(hello["nonce"]) == 32
        assert (client.hello.server_info.pid, client.connected) == (100, True)
        assert (client.mirror.active_task_id, client.mirror.seq, client.mirror.stale) == ("t1", 41, None)


async def test_the_first_byte_ends_what_a_client_before_us_left_unfinished(client, guest):
    assert guest.connections[0].lines[0] == b""


async def test_p0_needs_no_greeting(guest):
    guest.add_task("t1", state="active")

    async with connect(guest.dial, dialect="p0") as client:
        assert client.mirror.active_task_id == "t1"
        assert client.hello is None
    assert [request.method for request in guest.requests] == ["get_state"]


async def test_ids_and_nonces_are_never_used_twice(guest):
    for _ in range(2):
        async with connect(guest.dial) as client:
            await client.ping()

    assert len({request.id for request in guest.requests}) == len(guest.requests)
    assert len({request.params["nonce"] for request in guest.requests if request.method == "initialize"}) == 2


async def test_a_host_that_comes_back_under_the_same_name_is_not_given_its_old_answers(guest):
    guest.add_task("t1", state="active")
    for _ in range(2):
        async with connect(guest.dial, client_id="ide") as client:
            assert (await client.prompt("t1", "Hi")).text == "Hello, world."

    assert guest.effects == ["prompt", "prompt"]


async def test_every_call_has_its_typed_result(guest, dialect):
    guest.add_task("t1", state="active")
    guest.save_turn("t1", "u1", "p1", "Hello")
    async with connect(guest.dial, dialect=dialect) as client:
        opened = await client.open("t2", agent="pi", working_folder="/src", thinking_level="low")
        assert (opened.mode, opened.state, opened.abilities.steer) == ("created", "ready", True)
        assert (await client.stop("t2")).state == "stopped"
        assert (await client.open("t2")).mode == "resumed"
        assert [task.task_id for task in (await client.get_state()).tasks] == ["t1", "t2"]
        assert (await client.get_task("t1")).state == "active"
        session = await client.get_session("t1")
        assert msgspec.json.decode(session.turns[0], type=Turn).messages[1].content[0].text == "Hello"
        assert (await client.steer("faster")).queued
        assert (await client.follow_up("and then")).queued
        assert not (await client.abort()).aborting
        assert (await client.answer("q1", value="yes")).answered
        assert [model.id for model in (await client.list_models()).models] == ["small"]
        assert (await client.set_model("mock", "large")).id == "large"
        assert (await client.system_bash("true", timeout_seconds=1)).exit_code == 0
        assert (await client.take_driver(force=True)).driver
        assert not (await client.release_driver()).driver
        assert (await client.diag()).task_count == 2
        assert (await client.ping()).at

    sent = {request.method: request.params for request in guest.requests}
    assert sent["create_or_open_task"]["taskId"] == "t2"
    assert sent["system_bash"] == {"command": "true", "timeoutSeconds": 1} | {
        name: None for name in ("cwd", "workingDirectory") if name in sent["system_bash"]
    }
    assert sent["answer"]["value"] == "yes"


async def test_a_refusal_is_raised_with_all_that_the_guest_said(client, guest):
    with pytest.raises(GuestError) as caught:
        await client.get_task("t9")
    assert (caught.value.code, caught.value.retryable) == ("TASK_NOT_FOUND", False)

    guest.refuse["ping"] = Refusal("SOME_NEW_CODE", "not now", retryable=True, details={"in": 5})
    with pytest.raises(GuestError) as caught:
        await client.ping()
    assert (caught.value.code, caught.value.message) == ("SOME_NEW_CODE", "not now")
    assert (caught.value.retryable, caught.value.details) == (True, {"in": 5})


async def test_answers_find_their_calls_in_any_order(client, guest):
    release = guest.hold("get_task")
    found = []

    async def ask(task_id):
        found.append((await client.get_task(task_id)).task_id)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "t1")
            tasks.start_soon(ask, "t2")
            await guest.got("get_task", 2)
            assert (await client.ping()).at
            release.set()

    assert sorted(found) == ["t1", "t2"]


async def test_a_call_without_an_answer_times_out_and_the_late_answer_is_dropped(client, guest):
    release = guest.hold("ping")
    dropped = client.dropped

    with pytest.raises(CallTimeout) as caught:
        await client.ping(timeout=0.02)
    assert (caught.value.method, caught.value.maybe_done) == ("ping", False)

    release.set()
    assert (await client.ping()).at
    assert (await client.get_task("t1")).task_id == "t1"
    assert client.dropped == dropped + 1


async def test_a_timed_out_change_may_have_been_done(client, guest):
    guest.mute.add("stop_task")

    with pytest.raises(CallTimeout, match="may have been done") as caught:
        await client.stop("t1", timeout=0.02)
    assert caught.value.maybe_done


async def test_waiting_calls_are_bounded(guest, monkeypatch):
    monkeypatch.setattr(rpc, "MAX_PENDING", 4)
    guest.mute.add("ping")
    async with connect(guest.dial) as client:
        client._rpc._max_pending = 4
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(client.ping)
                await guest.got("ping", 4)
                with pytest.raises(TooManyCalls):
                    await client.get_state()
                tasks.cancel_scope.cancel()
        assert len((await client.get_state()).tasks) == 0


async def test_a_request_longer_than_the_guest_takes_is_not_sent(client, guest, monkeypatch):
    monkeypatch.setattr(rpc, "MAX_REQUEST_BYTES", 1000)

    with pytest.raises(GuestError) as caught:
        await client.steer("x" * 2000)
    assert caught.value.code == "LINE_TOO_LONG"
    assert (await client.ping()).at


async def test_an_answer_of_another_form_is_an_error_of_that_call_alone(client, guest):
    guest.tasks["t1"]["state"] = 5

    with pytest.raises(BadAnswer, match="get_task"):
        await client.get_task("t1")
    assert (await client.get_task("t2")).task_id == "t2"


async def test_lines_that_are_no_messages_are_counted_and_skipped(client, guest):
    before = client.dropped
    connection = guest.connections[0]
    connection.send_bytes(b"noise\n\n[]\n{}\n\xff\xfe\n5\n")
    connection.send({"jsonrpc": "2.0", "id": "nobody", "result": {}})
    connection.send({"jsonrpc": "2.0", "id": 7, "error": {"code": -32700, "message": "what?"}})
    guest.say("task_ready", "t1", incarnation="not a number")
    guest.say("some_new_event", "t1", anything=[1, 2])

    assert (await client.ping()).at
    assert client.dropped >= before + 6
    assert client.connected


async def test_nobody_there_is_told_at_once(guest):
    guest.accepting = False

    with pytest.raises(DialFailed, match="Connection refused"):
        async with connect(guest.dial):
            pass
    assert guest.dials == 1


async def test_a_caller_may_wait_for_a_guest_that_starts(guest, monkeypatch):
    guest.accepting = False

    async def come_up():
        while guest.dials < 3:
            await anyio.lowlevel.checkpoint()
        guest.accepting = True

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(come_up)
            async with connect(guest.dial, wait=8.0) as client:
                assert (await client.ping()).at
    assert guest.dials == 4


async def test_a_port_that_another_client_holds_says_nothing_and_is_given_up(guest):
    guest.mute.add("initialize")

    with pytest.raises(DialFailed, match="no answer") as caught:
        async with connect(guest.dial, timeout=0.05):
            pass
    assert "another client" in caught.value.hint


async def test_a_dial_that_hangs_is_given_up():
    with pytest.raises(DialFailed, match="no connection within"):
        async with connect(anyio.sleep_forever, timeout=0.05):
            pass


async def test_a_wrong_token_is_not_tried_again(guest):
    guest.token = "right"

    with pytest.raises(DialFailed, match="token") as caught:
        async with connect(guest.dial, token="wrong", wait=5.0):
            pass
    assert (guest.dials, caught.value.permanent) == (1, True)
    assert "TASKD_TOKEN" in caught.value.hint
    assert isinstance(caught.value.__cause__, GuestError)


async def test_the_right_token_is_shown_in_either_dialect(guest, dialect):
    guest.token = "right"

    async with connect(guest.dial, token="right", dialect=dialect) as client:
        assert (await client.ping()).at


async def test_a_peer_that_is_no_guest_is_told_apart():
    async def dial():
        theirs, ours = memory_pair()
        await ours.send(b"220 mail.example ESMTP\r\n")
        await ours.aclose()
        return theirs

    with pytest.raises(DialFailed, match="closed the connection"):
        async with connect(dial):
            pass


async def test_the_guests_complaint_is_in_the_error(guest):
    async def dial():
        theirs, ours = memory_pair()
        await ours.send(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32012,"message":"64 channels are open"}}\n')
        await ours.aclose()
        return theirs

    with pytest.raises(DialFailed, match="64 channels are open"):
        async with connect(dial):
            pass


async def test_what_the_block_raises_leaves_it_as_it_is(guest):
    class Mine(Exception):
        pass

    with pytest.raises(Mine):
        async with connect(guest.dial):
            raise Mine


async def test_a_client_that_is_closed_says_so_to_whoever_waits(guest):
    guest.mute.add("ping")
    failures = []

    async def ask(client):
        with pytest.raises(ConnectionLost) as caught:
            await client.ping()
        failures.append(caught.value)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks, connect(guest.dial) as client:
            tasks.start_soon(ask, client)
            await guest.got("ping")

    assert (failures[0].reason, failures[0].maybe_done) == ("the client is closed", False)
    with pytest.raises(ConnectionLost):
        await client.ping()
    with pytest.raises(ConnectionLost):
        await client.reconnect(1.0)
    assert not client.connected


async def test_cancelling_a_block_closes_the_client(guest):
    with anyio.CancelScope() as scope:
        async with connect(guest.dial) as client:
            scope.cancel()
            await anyio.sleep_forever()

    assert scope.cancelled_caught
    assert not client.connected


async def test_activate_opens_what_is_closed_and_switches(client, guest):
    assert (await client.activate("t3")).state == "active"
    assert (await client.activate("t3")).state == "active"
    assert (await client.activate("t1")).state == "active"
    await client.stop("t1")
    assert (await client.activate("t1")).state == "active"

    assert guest.effects.count("create_or_open_task") == 2


async def test_the_mirror_follows_and_asks_again_after_a_hole(client, guest):
    guest.tasks["t2"]["turnCount"] = 5
    guest.seq += 3
    guest.say("agent_output", "t1", chunk="x")

    await guest.got("get_state", 2)
    events = client.events()
    with anyio.fail_after(10):
        async for item in events:
            if type(item).__name__ == "Refreshed":
                break
    assert "were not heard" in item.reason
    assert (client.mirror.stale, client.mirror.task("t2").turn_count) == (None, 5)


async def test_a_task_that_was_just_opened_is_in_the_fresh_mirror(client):
    await client.open("t3")
    assert (await client.fresh_mirror()).task("t3").state == "ready"

    await client.switch("t3")
    assert client.mirror.active_task_id == "t3"


async def test_whoever_has_awaited_a_call_finds_in_the_mirror_what_it_did(client, guest):
    guest.ack_only.add("stop_task")
    await client.stop("t1")
    assert (client.mirror.task("t1").state, client.mirror.active_task_id) == ("stopped", None)


async def test_the_reason_that_a_guest_gives_for_hanging_up_is_passed_on(client, guest):
    guest.mute.add("stop_task")
    guest.say("channel_closing", reason="more than 8 MiB wait for you", code="OVERLOADED")
    failures = []

    async def stop():
        with pytest.raises(ConnectionLost) as caught:
            await client.stop("t1")
        failures.append(caught.value)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop)
            await guest.got("stop_task")
            guest.drop()

    assert "more than 8 MiB" in failures[0].reason
    assert failures[0].maybe_done


async def test_a_unix_socket_works_as_well(tmp_path, anyio_backend):
    path = f"{tmp_path}/taskd.sock"
    with anyio.fail_after(10):
        async with FakeGuest().listening(path) as guest, connect(f"unix:{path}") as client:
            await client.open("t1")
            await client.switch("t1")
            assert (await client.prompt("t1", "Hi")).text == "Hello, world."
            assert guest.effects == ["create_or_open_task", "switch_task", "prompt"]


def test_every_error_is_one_of_the_tree():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]

    assert all(issubclass(kind, errors.HostError) for kind in kinds)
    assert {kind.__name__ for kind in kinds} >= {"DialFailed", "SwitchTimeout", "TurnFailed"}
