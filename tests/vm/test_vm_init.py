"""The daemon under a machine's own init: started, told its settings, started again, and stopped in order."""

from contextlib import suppress

import anyio
import anyio.to_thread
import pytest

from host_client import ConnectionLost, Reconnected, connect
from host_client.client import Client
from tests.vm.virtual_machine import PORT, WAIT_SECONDS, Machine

pytestmark = [pytest.mark.vm, pytest.mark.anyio, pytest.mark.timeout(300)]

KERNEL = "kernel command line"


def _pid(client: Client) -> int:
    assert client.hello is not None
    return client.hello.server_info.pid


async def test_init_is_the_parent_and_the_daemon_is_no_root(client: Client) -> None:
    told = await client.system_bash(f"readlink /proc/1/exe; grep -E '^(PPid|Uid):' /proc/{_pid(client)}/status")

    assert told.output.split() == ["PPid:", "1", "Uid:", "900", "900", "900", "900"]


async def test_settings_come_from_the_kernel_command_line_without_asking(client: Client) -> None:
    told = (await client.diag()).settings

    assert told["listen"] == {"value": f"vsock:{PORT}", "source": KERNEL}
    assert told["limits.outbox_bytes"] == {"value": "262144", "source": KERNEL}
    assert told["log_format"] == {"value": "json", "source": KERNEL}
    assert told["env_pass"] == {"value": "PATH HOME", "source": KERNEL}


async def test_init_starts_a_killed_daemon_again_and_the_host_is_back_by_itself(client: Client) -> None:
    await client.open("killed")
    await client.switch("killed", timeout=WAIT_SECONDS)
    await client.prompt("killed", "echo one").wait()
    killed = _pid(client)
    heard = client.events()

    with anyio.fail_after(WAIT_SECONDS):
        with suppress(ConnectionLost):
            await client.system_bash(f"kill -9 {killed}")
        again = await anext(item async for item in heard if isinstance(item, Reconnected))
        task = await client.get_task("killed")

    assert not again.same_daemon
    assert _pid(client) != killed
    assert (task.state, task.turn_count) == ("stopped", 1)
    assert (await client.open("killed")).mode == "resumed"


async def test_the_power_button_ends_turns_and_the_daemon_before_the_machine(machine: Machine) -> None:
    async with connect(machine.address, wait=WAIT_SECONDS) as client:
        await client.open("last")
        await client.switch("last", timeout=WAIT_SECONDS)
        turn = await client.prompt("last", "mkfifo gate; read word < gate").start()
        heard = client.events()
        machine.press_power_button()
        names = []
        with anyio.fail_after(WAIT_SECONDS), suppress(ConnectionLost):
            async for item in heard:
                names.append(item.name)
        code = await anyio.to_thread.run_sync(machine.await_end)

    assert code == 0
    assert turn.state.finished
    assert (names[0], names[-1]) == ("agent_end", "channel_closing")
    assert "task_stopped" in names
    words = ('"event":"shutting down","reason":"SIGTERM"', '"event":"stopped"', "reboot: Power down")
    places = [machine.console().find(word) for word in words]
    assert -1 not in places
    assert places == sorted(places)
