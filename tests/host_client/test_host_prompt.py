"""`Client.prompt`: an iterator of what happens, which ends in a typed result."""

import anyio
import pytest

from host_client import (
    AgentOutput,
    AgentQuestion,
    ConnectionLost,
    GuestError,
    ToolEnded,
    ToolOutput,
    ToolStarted,
    TurnFailed,
    UsageReported,
    connect,
)
from host_client import mailbox as mailbox_module
from host_client.notices import Lagged
from tests.kit.fake_guest import NO_USAGE

pytestmark = pytest.mark.anyio

TOOLS = [
    ("agent_output", {"chunk": "hm", "kind": "thinking"}),
    ("agent_output", {"chunk": "I look."}),
    ("tool_started", {"toolCallId": "c1", "tool": "bash", "args": {"command": "ls"}}),
    ("tool_output", {"toolCallId": "c1", "chunk": "a.txt\n"}),
    ("tool_ended", {"toolCallId": "c1", "tool": "bash", "isError": False, "durationMs": 3}),
    ("usage", {"usage": NO_USAGE, "turnUsage": NO_USAGE}),
    ("agent_question", {"requestId": "q1", "kind": "confirm", "title": "Sure?"}),
    ("agent_output", {"chunk": "One file."}),
]


async def test_it_gives_what_happens_and_then_the_result(guest, dialect):
    guest.add_task("t1", state="active")
    guest.script = TOOLS
    async with connect(guest.dial, dialect=dialect) as client:
        turn = client.prompt("t1", "What is in this folder?", prompt_id="mine")
        kinds = [type(item) async for item in turn]

    assert kinds == [
        AgentOutput,
        AgentOutput,
        ToolStarted,
        ToolOutput,
        ToolEnded,
        UsageReported,
        AgentQuestion,
        AgentOutput,
    ]
    result = turn.result
    assert result.text == "I look.\n\nOne file."
    assert (result.task_id, result.turn_id, result.prompt_id, result.turn_number) == ("t1", "turn_1", "mine", 1)
    assert (result.stop_reason, result.usage.total_tokens, result.save_ms, result.complete) == ("stop", 7, 1.5, True)


async def test_it_can_be_awaited_for_the_result_alone(client):
    result = await client.prompt(None, "Hi")

    assert (result.text, result.task_id) == ("Hello, world.", "t1")
    assert (await client.prompt("t1", "And?")).turn_number == 2


async def test_it_gives_the_text_alone(client, guest):
    guest.script = TOOLS

    assert [piece async for piece in client.prompt("t1", "Hi").text()] == ["I look.", "One file."]


async def test_nothing_is_sent_before_it_is_used(client, guest):
    turn = client.prompt("t1", "Hi")
    with pytest.raises(RuntimeError, match="under way"):
        _ = turn.result
    await client.ping()
    assert "prompt" not in [request.method for request in guest.requests]

    await turn.start()
    assert turn.turn_id == "turn_1"
    await turn.start()
    assert (await turn).text == "Hello, world."
    assert guest.effects == ["prompt"]


async def test_a_refused_prompt_raises_and_stays_refused(client, guest):
    turn = client.prompt("t2", "Hi")

    with pytest.raises(GuestError) as caught:
        await turn.start()
    assert caught.value.code == "TASK_NOT_READY"
    with pytest.raises(GuestError):
        await turn
    with pytest.raises(GuestError):
        _ = turn.result


async def test_an_error_of_the_task_ends_it_with_the_code(client, guest):
    guest.ack_only.add("prompt")
    turn = await client.prompt("t1", "Hi").start()
    guest.say("agent_output", "t1", chunk="Hal")
    error = {"code": "PI_PROCESS_DEAD", "message": "exit code 1", "retryable": True, "details": {"exitCode": 1}}
    guest.say("task_error", "t1", incarnation=1, turnId="turn_1", **error)

    assert (await anext(turn)).chunk == "Hal"
    with pytest.raises(TurnFailed) as caught:
        await anext(turn)
    assert (caught.value.code, caught.value.details, caught.value.turn_id) == (
        "PI_PROCESS_DEAD",
        {"exitCode": 1},
        "turn_1",
    )
    with pytest.raises(TurnFailed):
        _ = turn.result


async def test_events_that_overtake_the_answer_are_not_lost(client, guest):
    release = guest.hold("prompt")
    turn = client.prompt("t1", "Hi", prompt_id="mine")
    results = []

    async def run():
        results.append(await turn)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await guest.got("prompt")
            guest.say("agent_output", "t1", chunk="of the turn before")
            guest.say("turn_started", "t1", turnId="turn_1", promptId="mine", incarnation=1)
            guest.say("agent_output", "t1", chunk="early ")
            await client.ping()
            guest.ack_only.add("prompt")
            release.set()
            await client.ping()
            guest.say("agent_output", "t1", chunk="late")
            guest.end_turn("t1")

    assert results[0].text == "early late"


async def test_a_prompt_that_the_guest_had_taken_before_ends_as_that_one_did(client, guest):
    guest.save_turn("t1", "turn_0", "mine", "Said long ago")
    guest.remembered["mine"] = {"accepted": True, "taskId": "t1", "promptId": "mine", "turnId": "turn_0"}

    with anyio.fail_after(10):
        result = await client.prompt("t1", "Hi", prompt_id="mine")
    assert (result.text, result.turn_id) == ("Said long ago", "turn_0")


async def test_two_tasks_turns_do_not_mix(client, guest):
    guest.ack_only.add("prompt")
    first = await client.prompt("t1", "Hi").start()
    await client.switch("t2")
    second = await client.prompt("t2", "Hi").start()
    guest.say("agent_output", "t1", chunk="one")
    guest.say("agent_output", "t2", chunk="two")
    guest.end_turn("t2", "two")
    guest.end_turn("t1", "one", stopReason="aborted")

    assert ((await first).text, first.result.stop_reason) == ("one", "aborted")
    assert ((await second).text, second.result.stop_reason) == ("two", "stop")


async def test_a_slow_consumer_lags_but_its_result_is_whole(client, guest, monkeypatch):
    monkeypatch.setattr(mailbox_module, "MAX_ITEMS", 10)
    guest.script = [("agent_output", {"chunk": f"{number} "}) for number in range(100)]
    turn = client.prompt("t1", "Count.")
    turn._box._max_items = 10
    await turn.start()
    while client.mirror.task("t1").turn_count == 0:
        await client.ping()

    items = [item async for item in turn]
    assert items[0] == Lagged(90)
    assert [item.chunk for item in items[1:]] == [f"{number} " for number in range(90, 100)]
    assert turn.result.text == "".join(f"{number} " for number in range(100))


async def cancel_while_iterating(client, guest, turn):
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(turn.wait)
            await guest.done("prompt")
            while turn.turn_id is None:
                await client.ping()
            tasks.cancel_scope.cancel()


async def test_a_consumer_that_is_cancelled_leaves_the_turn_running(client, guest):
    guest.ack_only.add("prompt")
    await cancel_while_iterating(client, guest, client.prompt("t1", "Hi"))

    await client.ping()
    assert "abort" not in guest.effects


async def test_a_consumer_that_is_cancelled_aborts_the_turn_if_it_was_asked_for(client, guest):
    guest.ack_only.add("prompt")
    turn = client.prompt("t1", "Hi", abort_if_left=True)
    await cancel_while_iterating(client, guest, turn)

    assert guest.effects == ["prompt", "abort"]
    assert (await turn).stop_reason == "aborted"


async def test_a_cancelled_prompt_is_aborted_only_once_its_turn_is_known(client, guest):
    release = guest.hold("prompt")
    guest.ack_only.add("prompt")
    turn = client.prompt("t1", "Hi", abort_if_left=True, prompt_id="mine")

    scope = anyio.CancelScope()

    async def consume():
        with scope:
            await turn

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(consume)
            await guest.got("prompt")
            scope.cancel()
            release.set()
            await guest.done("prompt")
            await client.ping()
            assert "abort" not in guest.effects
            guest.begin_turn("t1")
            await guest.done("abort")

    assert guest.effects == ["prompt", "abort"]


async def test_leaving_a_block_early_aborts_if_it_was_asked_for(client, guest):
    guest.ack_only.add("prompt")
    async with client.prompt("t1", "Hi", abort_if_left=True) as turn:
        assert turn.turn_id == "turn_1"
    assert guest.effects == ["prompt", "abort"]

    await client.ping()
    async with client.prompt("t1", "Hi", abort_if_left=True) as turn:
        guest.end_turn("t1")
        await turn
    assert guest.effects == ["prompt", "abort", "prompt"]


async def test_a_lost_connection_ends_it_if_nobody_makes_a_new_one(client, guest):
    guest.ack_only.add("prompt")
    turn = await client.prompt("t1", "Hi").start()
    guest.drop()

    with pytest.raises(ConnectionLost) as caught:
        await turn
    assert caught.value.maybe_done


async def test_a_turn_that_nobody_holds_is_forgotten(client, guest):
    guest.ack_only.add("prompt")
    await client.prompt("t1", "Hi").start()
    await client.ping()

    assert len(client._turns) == 0
