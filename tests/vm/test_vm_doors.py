"""vsock between a machine and its host, and inside the machine: what hosts see, and who is let in."""

import hashlib
import json
import socket

import anyio
import anyio.to_thread
import pytest

from host_client import AgentOutput, DialFailed, HostError, connect
from host_client.client import Client
from tests.vm.virtual_machine import GUEST_CID, PORT, SIBLING_CID, WAIT_SECONDS, Machine

pytestmark = [pytest.mark.vm, pytest.mark.anyio, pytest.mark.timeout(300)]

LOOPBACK_CID = 1
UNUSED_PORT = 4999


async def _active(client: Client, task: str) -> None:
    await client.open(task)
    await client.switch(task, timeout=WAIT_SECONDS)


@pytest.mark.parametrize("dialect", ["jsonrpc", "p0"])
async def test_a_host_outside_opens_switches_prompts_and_hears_the_end(machine: Machine, dialect: str) -> None:
    with anyio.fail_after(WAIT_SECONDS):
        async with connect(machine.address, dialect=dialect) as client:
            assert (await client.open(dialect)).mode == "created"
            await client.switch(dialect, timeout=WAIT_SECONDS)
            turn = client.prompt(dialect, "uname -r; id -un")
            chunks = [item.chunk async for item in turn if isinstance(item, AgentOutput)]

            assert "".join(chunks) == turn.result.text
            assert "cloud-amd64\ntaskd\n" in turn.result.text
            assert (await client.stop(dialect)).state == "stopped"
            assert client.dropped == 0


async def test_the_daemon_sees_the_host_as_cid_2(client: Client) -> None:
    peers = [channel["peer"] for channel in (await client.diag()).channels]

    assert [peer.split()[:2] for peer in peers] == [["vsock", "cid=2"]]


async def test_a_turn_goes_on_while_its_host_reconnects(client: Client) -> None:
    await _active(client, "reconnect")
    turn = await client.prompt("reconnect", "mkfifo gate 2>/dev/null; read word < gate; echo heard $word").start()

    await client.reconnect()
    await client.system_bash("echo go > gate")

    with anyio.fail_after(WAIT_SECONDS):
        assert "heard go" in (await turn.wait()).text


async def test_much_more_than_a_window_of_credit_goes_each_way_unharmed(client: Client) -> None:
    texts = [f"{number}-".encode() * 30_000 for number in range(8)]
    sums: dict[bytes, str] = {}

    async def send(text: bytes) -> None:
        told = await client.system_bash(f"sha256sum << 'END'\n{text.decode()}\nEND")
        sums[text] = told.output.split()[0]

    with anyio.fail_after(WAIT_SECONDS):
        async with anyio.create_task_group() as tasks:
            for text in texts:
                tasks.start_soon(send, text)
        counted = await client.system_bash("seq 1 100000")

    assert sums == {text: hashlib.sha256(text + b"\n").hexdigest() for text in texts}
    assert counted.output == "".join(f"{number}\n" for number in range(1, 100_001))


async def test_a_host_that_ends_its_side_still_gets_its_answer(machine: Machine) -> None:
    with _plain(machine) as sock:
        sock.sendall(b'{"jsonrpc":"2.0","id":7,"method":"ping"}\n')
        sock.shutdown(socket.SHUT_WR)
        lines = _until_end(sock).split(b"\n")

    assert json.loads(lines[0])["id"] == 7
    assert lines[1:] == [b""]


async def test_a_host_that_reads_too_slowly_is_told_why_and_others_hear_all(machine: Machine, client: Client) -> None:
    await _active(client, "flood")
    with _plain(machine) as slow:
        slow.sendall(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        turn = await client.prompt("flood", "seq 1 200000").start()
        await anyio.to_thread.run_sync(machine.await_console, "host reads too slowly")
        *lines, rest = (await anyio.to_thread.run_sync(_until_end, slow)).split(b"\n")
        with anyio.fail_after(WAIT_SECONDS):
            text = (await turn.wait()).text

    messages = [json.loads(line) for line in lines]
    assert messages[-1]["method"] == "channel_closing"
    assert messages[-1]["params"]["code"] == "OVERLOADED"
    assert rest == b""
    assert text.endswith("\n199999\n200000\n")


async def test_a_guest_beside_ours_is_refused(machine: Machine) -> None:
    with pytest.raises(HostError):
        async with connect(machine.address_of(PORT, "sibling")):
            pass

    machine.await_console(f"cid {SIBLING_CID} is not allowed")


async def test_a_port_where_nobody_listens_is_told_to_the_host(machine: Machine) -> None:
    with pytest.raises(DialFailed, match=f"the proxy closed port {UNUSED_PORT}"):
        async with connect(machine.address_of(UNUSED_PORT)):
            pass


@pytest.mark.parametrize("cid", [LOOPBACK_CID, GUEST_CID])
async def test_an_agent_cannot_reach_its_supervisor_over_vsock(machine: Machine, client: Client, cid: int) -> None:
    await _active(client, f"knock-{cid}")
    told = await client.prompt(f"knock-{cid}", f"loopback knock {cid} {PORT}").wait()

    assert '"hung up on"' in told.text
    machine.await_console(f"cid {LOOPBACK_CID} is not allowed")


async def test_a_port_where_nobody_listens_is_told_inside_too(client: Client) -> None:
    told = json.loads((await client.system_bash(f"loopback dial vsock:{LOOPBACK_CID}:{UNUSED_PORT}")).output)

    assert told.endswith("Connection reset by peer; nobody listens there; start taskd")


async def test_the_loopback_is_let_in_where_allowed_cids_names_it(client: Client) -> None:
    told = json.loads((await client.system_bash("loopback host", timeout_seconds=WAIT_SECONDS)).output)

    anywhere, inside = told["listen"]
    assert anywhere.startswith("vsock:")
    assert inside.startswith(f"vsock:{LOOPBACK_CID}:")
    assert not any(address.endswith(":0") for address in told["listen"]), "the kernel's ports are told"
    assert "from inside" in told["text"]
    assert [peer.split()[:2] for peer in told["peers"]] == [["vsock", f"cid={LOOPBACK_CID}"]]
    assert told["inside"] == "answered"


async def test_a_port_that_is_taken_is_told_by_its_address(client: Client) -> None:
    told = await client.system_bash(f"env -i PATH=$PATH taskd serve --state-dir /tmp/third --listen vsock:{PORT}")

    assert told.exit_code == 2
    assert f"cannot listen on vsock:{PORT}: Address already in use" in told.output


def _plain(machine: Machine) -> socket.socket:
    """Connect without the client, for hosts that it would not be."""
    path, _, port = machine.address.removeprefix("fc:").rpartition(":")
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(WAIT_SECONDS)
    sock.connect(path)
    sock.sendall(f"CONNECT {port}\n".encode())
    while sock.recv(1) != b"\n":
        pass
    return sock


def _until_end(sock: socket.socket) -> bytes:
    told = b""
    while data := sock.recv(1 << 16):
        told += data
    return told
