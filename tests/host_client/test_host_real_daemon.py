"""The client against the daemon itself, with its built-in agent: a prompt is a shell command."""

import os
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager

import anyio
import pytest

from host_client import (
    AgentOutput,
    ConnectionLost,
    DialFailed,
    GuestError,
    GuestEvent,
    Reconnected,
    SwitchTimeout,
    connect,
)
from host_client.dial import dial, read_address
from host_client.mirror import Mirror
from taskd.model.records import Turn

pytestmark = pytest.mark.anyio

LIMIT = 40


def taskd(*words):
    return [sys.executable, "-m", "taskd", *map(str, words)]


@asynccontextmanager
async def serving(tmp_path, address, *words):
    command = taskd("serve", "--state-dir", tmp_path / "state", "--listen", address, "--log-level", "error", *words)
    async with await anyio.open_process(command, stdin=subprocess.DEVNULL, stdout=None, stderr=None) as process:
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()


async def until_gone(client):
    while True:
        await client.ping()


@pytest.fixture
async def address(tmp_path, anyio_backend):
    address = f"unix:{tmp_path}/taskd.sock"
    async with serving(tmp_path, address):
        yield address


async def test_a_child_daemon_is_driven_and_leaves_with_the_client(tmp_path, dialect):
    command = shlex.join(taskd("--stdio", "--state-dir", tmp_path / "state", "--log-level", "error"))
    with anyio.fail_after(LIMIT):
        async with connect(f"exec:{command}", dialect=dialect, cache_dir=tmp_path / "cache") as client:
            assert (await client.open("t1")).mode == "created"
            assert (await client.switch("t1")).incarnation == 1
            turn = client.prompt("t1", "echo hello")
            chunks = [item.chunk async for item in turn if isinstance(item, AgentOutput)]
            assert "".join(chunks) == turn.result.text
            assert "hello" in turn.result.text
            conversation = await client.conversation("t1")
            assert [type(one) for one in conversation.turns] == [Turn]
            assert conversation.turns[0].prompt_id == turn.prompt_id
            assert (await client.stop("t1")).state == "stopped"
            assert client.dropped == 0
            process = client._link._channel._stream.process

    assert process.returncode == 0


async def test_every_call_is_understood(address):
    with anyio.fail_after(LIMIT):
        async with connect(address, wait=20) as client:
            await client.activate("t1")
            assert (await client.ping()).at
            assert (await client.diag()).task_count == 1
            assert (await client.list_models("t1")).models
            assert (await client.take_driver()).driver
            assert not (await client.release_driver()).driver
            assert (await client.system_bash("echo hi; exit 3")).exit_code == 3
            assert not (await client.abort("t1")).aborting
            assert (await client.initialize()).server_info.name == "taskd"
            for call in (client.steer("x"), client.follow_up("x"), client.answer("q9", confirmed=True)):
                with pytest.raises(GuestError):
                    await call
            await client.shutdown()
            with pytest.raises(ConnectionLost):
                await until_gone(client)


async def test_the_folded_mirror_is_what_the_daemon_says(address):
    with anyio.fail_after(LIMIT):
        async with connect(address, wait=20, mirror=False) as driver, connect(address, mirror=False) as watcher:
            mirror, events = Mirror(), watcher.events()
            mirror.reset(await watcher.get_state())
            agreed = 0

            async def agree():
                nonlocal agreed
                state = await watcher.get_state()
                while mirror.seq < state.seq:
                    item = await anext(events)
                    assert isinstance(item, GuestEvent)
                    mirror.fold(item.task_id, item.event, seq=item.seq, at=item.at)
                if mirror.stale is None:
                    assert mirror.tasks == {task.task_id: task for task in state.tasks}
                    assert mirror.active_task_id == state.active_task_id
                    agreed += 1
                mirror.reset(state)

            await driver.open("t1")
            await agree()
            await driver.open("t2")
            await agree()
            for step in (
                lambda: driver.switch("t1"),
                lambda: driver.switch("t2"),
                lambda: driver.switch("t2"),
                lambda: driver.prompt("t2", "echo hello"),
                lambda: driver.prompt("t2", "sleep 60").start(),
                lambda: driver.switch("t1"),
                lambda: driver.abort("t2"),
                lambda: driver.stop("t2"),
                lambda: driver.stop("t1"),
            ):
                await step()
                await agree()
            assert agreed >= 9


async def test_a_turn_outlives_its_connection(address):
    with anyio.fail_after(LIMIT):
        async with connect(address, wait=20, reconnect=20) as client:
            await client.activate("t1")
            turn = await client.prompt("t1", "echo before; sleep 0.3; echo after").start()
            await client.reconnect()
            result = await turn

    assert result.complete
    assert result.text.split()[:2] == ["before", "after"]


async def test_a_turn_that_ended_without_a_connection_is_found(address):
    reachable = True

    async def dialer():
        if not reachable:
            raise ConnectionRefusedError
        return await dial(read_address(address))

    with anyio.fail_after(LIMIT):
        async with connect(address, wait=20) as other, connect(dialer, reconnect=20) as client:
            await client.activate("t1")
            ended = other.events("t1")
            turn = await client.prompt("t1", "sleep 0.2; echo done").start()
            reachable = False
            client._link.break_off("for this test")
            async for item in ended:
                if item.name == "agent_end":
                    break
            reachable = True
            result = await turn

    assert "done" in result.text


async def test_a_consumer_that_leaves_can_take_the_turn_with_it(address):
    with anyio.fail_after(LIMIT):
        async with connect(address, wait=20) as client:
            await client.activate("t1")
            async with client.prompt("t1", "sleep 60", abort_if_left=True) as turn:
                assert turn.turn_id
            assert (await turn).stop_reason == "aborted"


async def test_a_daemon_that_was_killed_is_another_one_and_resumes_the_task(tmp_path):
    address = f"unix:{tmp_path}/taskd.sock"
    with anyio.fail_after(LIMIT):
        async with serving(tmp_path, address) as first, connect(address, wait=20, reconnect=20) as client:
            await client.activate("t1")
            assert (await client.prompt("t1", "echo one")).turn_number == 1
            events = client.events()
            first.send_signal(signal.SIGKILL)
            await first.wait()
            async with serving(tmp_path, address):
                async for item in events:
                    if isinstance(item, Reconnected):
                        break
                assert not item.same_daemon
                assert client.mirror.task("t1").turn_count == 1
                if client.mirror.task("t1").state == "stopped":
                    assert (await client.open("t1")).mode == "resumed"
                await client.switch("t1")
                assert (await client.prompt("t1", "echo two")).turn_number == 2


async def test_a_frozen_daemon_meets_the_hard_deadline_and_the_client_goes_on(address, tmp_path):
    with anyio.fail_after(LIMIT):
        async with connect(address, wait=20) as client:
            await client.activate("t1")
            pid = client.hello.server_info.pid
            os.kill(pid, signal.SIGSTOP)
            try:
                with pytest.raises(SwitchTimeout):
                    await client.switch("t1", timeout=0.1)
            finally:
                os.kill(pid, signal.SIGCONT)
            assert (await client.switch("t1")).task_id == "t1"


async def test_tcp_wants_the_token_of_the_file(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address, token_file = f"tcp:127.0.0.1:{port}", tmp_path / "token"
    with anyio.fail_after(LIMIT):
        async with serving(tmp_path, address, "--token-file", token_file):
            async with connect(f"tcp:localhost:{port}", wait=20, token_file=token_file) as client:
                assert (await client.ping()).at
            with pytest.raises(DialFailed) as caught:
                async with connect(address, token="wrong"):
                    pass
            assert caught.value.permanent
