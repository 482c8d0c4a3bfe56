"""From an address to bytes: every kind of address, whose token is shown to whom, and what a failure advises."""

import os
import socket
import sys
from pathlib import Path

import anyio
import pytest

from host_client import childstream
from host_client.dial import ProxyAddress, connect_socket, delays, dial, find_token, read_address
from host_client.errors import DialFailed
from taskd.model.address import ExecAddress, TcpAddress, UnixAddress, VsockAddress, default_token_file
from tests.kit.fake_guest_wire import accept, unix_listener

ENVIRON = {"TASKD_TOKEN": "from-environment", "HOME": "/nowhere"}


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/run/x.sock", UnixAddress("/run/x.sock")),
        ("tcp:localhost:7000", TcpAddress("localhost", 7000)),
        ("vsock:3:5000", VsockAddress(5000, 3)),
        ("fc:/run/v.sock:5000", ProxyAddress("/run/v.sock", 5000)),
        ("exec:taskd --stdio", ExecAddress("taskd --stdio")),
    ],
)
def test_addresses_are_read_and_written_back(text, address):
    assert read_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["nonsense", "/run/x.sock", "tcp:7000", "fc:relative:5000", "fc:/a:b", "fc:/a", ""])
def test_what_is_no_address_is_refused_with_what_would_be_right(text):
    with pytest.raises(DialFailed) as caught:
        read_address(text)
    assert caught.value.permanent
    assert "use " in caught.value.reason or "write " in caught.value.reason or "as in" in caught.value.reason


def test_no_address_means_this_users_own_daemon(tmp_path):
    runtime = tmp_path / "taskd"
    runtime.mkdir()
    (runtime / "taskd.sock").touch()

    address = read_address(None, {"RUNTIME_DIRECTORY": str(runtime), "HOME": str(tmp_path)})

    assert address == UnixAddress(f"{runtime}/taskd.sock")


def test_a_named_token_is_shown_to_anybody():
    assert find_token(UnixAddress("/x"), "mine", environ=ENVIRON) == "mine"


def test_the_environments_token_is_shown_on_networks_only():
    assert find_token(TcpAddress("far.example", 1), environ=ENVIRON) == "from-environment"
    assert find_token(VsockAddress(1, 3), environ=ENVIRON) == "from-environment"
    assert find_token(UnixAddress("/x"), environ=ENVIRON) is None
    assert find_token(ExecAddress("ssh far taskd"), environ=ENVIRON) is None


def test_the_daemons_own_token_is_shown_to_this_machine_only(tmp_path):
    token = Path(default_token_file(str(tmp_path)))
    token.parent.mkdir(parents=True, exist_ok=True)
    token.write_text("its-own\n")
    environ = {"STATE_DIRECTORY": str(tmp_path)}

    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert find_token(TcpAddress(host, 1), environ=environ) == "its-own"
    for host in ("10.0.0.1", "127.evil.example", "localhost.example", "::2"):
        assert find_token(TcpAddress(host, 1), environ=environ) is None


def test_a_token_file_is_read_and_stripped(tmp_path):
    (tmp_path / "token").write_text("  secret \n")

    assert find_token(TcpAddress("far", 1), token_file=tmp_path / "token", environ=ENVIRON) == "secret"


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"x" * 5000])
def test_a_named_file_without_a_token_is_an_error(tmp_path, content):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(DialFailed) as caught:
        find_token(TcpAddress("far", 1), token_file=path, environ={})
    assert caught.value.permanent == path.exists(), "a file that is not there yet may come"
    assert "x" * 100 not in str(caught.value)


def test_delays_grow_to_a_bound():
    found = [delay for delay, _ in zip(delays(), range(8), strict=False)]

    assert found == sorted(found)
    assert (found[0], found[-1]) == (0.05, 1.0)


async def echo(stream):
    async with stream:
        try:
            while True:
                await stream.send(await stream.receive())
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return


async def receive_line(stream):
    line = b""
    while not line.endswith(b"\n"):
        line += await stream.receive()
    return line


@pytest.mark.anyio
async def test_unix(tmp_path):
    path = f"{tmp_path}/x.sock"
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(accept, unix_listener(path), echo)
            async with await dial(UnixAddress(path)) as stream:
                await stream.send(b"hello\n")
                assert await receive_line(stream) == b"hello\n"
            tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_tcp_sends_without_delay():
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            listener = socket.create_server(("127.0.0.1", 0))
            tasks.start_soon(accept, listener, echo)
            async with await dial(TcpAddress("127.0.0.1", listener.getsockname()[1])) as stream:
                assert stream._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                await stream.send(b"hello\n")
                assert await receive_line(stream) == b"hello\n"
            tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_a_socket_of_another_family_is_connected_by_hand(tmp_path):
    path = f"{tmp_path}/x.sock"
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(accept, unix_listener(path), echo)
            async with await connect_socket(socket.socket(socket.AF_UNIX), path) as stream:
                await stream.send(b"hello\n")
                assert await receive_line(stream) == b"hello\n"
            tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_a_socket_that_cannot_be_connected_is_closed(tmp_path):
    sock = socket.socket(socket.AF_UNIX)

    with pytest.raises(FileNotFoundError):
        await connect_socket(sock, f"{tmp_path}/none.sock")
    assert sock.fileno() == -1


def proxy(answer):
    async def serve(stream):
        async with stream:
            assert await receive_line(stream) == b"CONNECT 5000\n"
            await stream.send(answer)

    return serve


@pytest.mark.anyio
async def test_a_vsock_proxy_is_told_the_port_and_nothing_behind_its_answer_is_lost(tmp_path):
    path = f"{tmp_path}/v.sock"
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(accept, unix_listener(path), proxy(b"OK 1073741824\nhello\n"))
            async with await dial(ProxyAddress(path, 5000)) as stream:
                assert await receive_line(stream) == b"hello\n"
            tasks.cancel_scope.cancel()


@pytest.mark.anyio
@pytest.mark.parametrize("answer", [b"", b"no such port\n", b"x" * 1000])
async def test_a_vsock_proxy_that_refuses_is_told_apart_from_a_guest(tmp_path, answer):
    path = f"{tmp_path}/v.sock"
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(accept, unix_listener(path), proxy(answer))
            with pytest.raises(DialFailed, match="closed port 5000"):
                await dial(ProxyAddress(path, 5000))
            tasks.cancel_scope.cancel()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("address", "advice"),
    [
        (UnixAddress("/nonexistent/x.sock"), "start taskd"),
        (TcpAddress("127.0.0.1", 1), "start taskd"),
        (VsockAddress(5000), "vsock:CID:5000"),
        (ExecAddress("/nonexistent/program --stdio"), "installed"),
        (ExecAddress("an 'unfinished quote"), ""),
    ],
)
async def test_a_failure_says_what_to_do_next(address, advice):
    with pytest.raises(DialFailed) as caught:
        await dial(address)
    assert advice in caught.value.hint
    assert str(address) in str(caught.value)


@pytest.mark.anyio
async def test_a_folder_that_is_closed_to_us_is_a_matter_of_rights(tmp_path):
    if os.getuid() == 0:
        pytest.skip("root may open everything")
    tmp_path.chmod(0)
    try:
        with pytest.raises(DialFailed, match="your user may not"):
            await dial(UnixAddress(f"{tmp_path}/x.sock"))
    finally:
        tmp_path.chmod(0o700)


def python(program):
    return ExecAddress(f"{sys.executable} -c '{program}'")


@pytest.mark.anyio
async def test_a_child_is_spoken_to_and_ends_when_its_stdin_does():
    program = "import sys; [sys.stdout.write(line) or sys.stdout.flush() for line in sys.stdin]"
    with anyio.fail_after(20):
        stream = await dial(python(program))
        await stream.send(b"hello\n")
        assert await receive_line(stream) == b"hello\n"
        await stream.aclose()

    assert stream.process.returncode == 0


@pytest.mark.anyio
async def test_a_child_that_writes_on_at_the_end_is_drained_and_reaped():
    program = 'import sys; sys.stdin.read(); sys.stdout.write("x" * 1_000_000)'
    with anyio.fail_after(20):
        stream = await dial(python(program))
        await stream.aclose()

    assert stream.process.returncode == 0


@pytest.mark.anyio
async def test_a_child_that_ignores_everything_is_killed_and_reaped(monkeypatch):
    monkeypatch.setattr(childstream, "EXIT_SECONDS", 0.05)
    monkeypatch.setattr(childstream, "TERM_SECONDS", 0.05)
    program = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); signal.pause()"
    program += "; signal.pause()"
    with anyio.fail_after(20):
        stream = await dial(python(program))
        await receive_line(stream)
        await stream.aclose()

    assert stream.process.returncode == -9
