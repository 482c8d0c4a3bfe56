"""From an address to a stream of bytes, one attempt at a time; `delays` spaces repeated ones.

    unix:/PATH          a unix socket (also a virtio-serial port that QEMU shows as one)
    tcp:HOST:PORT       TCP without delay
    vsock:CID:PORT      AF_VSOCK of this kernel
    fc:/PATH:PORT       vsock as Firecracker and Cloud Hypervisor show it: a unix socket that is told `CONNECT PORT`
    exec:COMMAND        a child's stdin and stdout; split like a shell does, run without one; stderr is passed on

Rules: nothing is said on the stream but what the transport itself needs; each attempt is bounded by its caller; every
failure is a `DialFailed` that says what to do next. Whether a daemon is at the other end is for the caller to find out.
"""

import errno
import ipaddress
import os
import shlex
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import anyio
from anyio.abc import ByteStream

from host_client.childstream import ChildStream
from host_client.errors import DialFailed
from host_client.socketstream import SocketBytes
from taskd.model.address import (
    Address,
    AddressError,
    ExecAddress,
    TcpAddress,
    UnixAddress,
    VsockAddress,
    client_sockets,
    default_state_dir,
    default_token_file,
    parse_address,
)

MAX_TOKEN_BYTES: Final = 4096
"""A token file above this is none."""

MAX_PROXY_LINE_BYTES: Final = 64
"""The answer `OK PORT` of a vsock proxy; PORT has at most ten digits."""

FIRST_DELAY_SECONDS: Final = 0.05
"""Between the first two attempts; a daemon that was restarted accepts again within this time."""

ONE_OF_SEVERAL_SECONDS: Final = 3.0
"""For each address of a host name but the last: a family that leads nowhere must not cost the whole attempt."""

MAX_DELAY_SECONDS: Final = 1.0
"""Between later attempts: seldom enough to cost nothing, often enough not to be waited for."""


class ProxyAddress(NamedTuple):
    """A vsock port of a guest behind the unix socket of its hypervisor."""

    path: str
    port: int

    def __str__(self) -> str:
        return f"fc:{self.path}:{self.port}"


Target = Address | ProxyAddress


def read_address(text: str | None, environ: Mapping[str, str] = os.environ) -> Target:
    """Read an address; None means the socket of this user's daemon, or else the system's.

    Raises:
        DialFailed: it is not of the grammar at the head of this file.
    """
    if text is None:
        return _nearest(environ)
    try:
        return _proxy(text) if text.startswith("fc:") else parse_address(text)
    except AddressError as error:
        raise DialFailed(text, error.reason, permanent=True) from error


def find_token(
    target: Target,
    token: str | None = None,
    token_file: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> str | None:
    """Give the token to show: the one that is named, or the one that this machine's own daemon left for its user.

    `TASKD_TOKEN` is shown on networks only (tcp, vsock), the daemon's own token file on TCP to this machine only:
    neither goes to a stranger by accident.

    Raises:
        DialFailed: the named file cannot be read.
    """
    if token is not None:
        return token
    if token_file is not None:
        return _token_of(Path(token_file), str(target))
    if isinstance(target, UnixAddress | ExecAddress):
        return None
    if environ.get("TASKD_TOKEN"):
        return environ["TASKD_TOKEN"]
    if isinstance(target, TcpAddress) and _is_this_machine(target.host):
        return _own_token(environ, str(target))
    return None


async def dial(target: Target) -> ByteStream:
    """Make one attempt to connect. The caller bounds its time and closes the stream.

    Raises:
        DialFailed: with what to do next.
    """
    try:
        return await _open(target)
    except OSError as error:
        raise _failed(target, error) from error


def delays() -> Iterator[float]:
    """Give the seconds to wait between attempts, for ever."""
    delay = FIRST_DELAY_SECONDS
    while True:
        yield delay
        delay = min(delay * 2, MAX_DELAY_SECONDS)


async def _open(target: Target) -> ByteStream:
    match target:
        case UnixAddress(path):
            return await _open_unix(path)
        case TcpAddress(host, port):
            return await _open_tcp(host, port)
        case VsockAddress(port, cid):
            return await _open_vsock(target, cid, port)
        case ProxyAddress(path, port):
            return await _open_proxy(target, path, port)
        case ExecAddress(command):
            return await _open_child(target, command)
    raise DialFailed(str(target), "this is an address to listen on", "name a socket or a command", permanent=True)


async def _open_unix(path: str) -> ByteStream:
    return await connect_socket(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), path)


async def _open_tcp(host: str, port: int) -> ByteStream:
    places = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    *first, last = [(family, address) for family, _, _, _, address in places]
    for family, address in first:
        with suppress(OSError), anyio.move_on_after(ONE_OF_SEVERAL_SECONDS):
            return await _connect_tcp(family, address)
    return await _connect_tcp(*last)


async def _connect_tcp(family: socket.AddressFamily, address: tuple[str, int]) -> ByteStream:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return await connect_socket(sock, address)


async def _open_vsock(target: Target, cid: int | None, port: int) -> ByteStream:
    if cid is None:
        raise DialFailed(str(target), "the guest is not named", f"use vsock:CID:{port}", permanent=True)
    if not hasattr(socket, "AF_VSOCK"):
        raise DialFailed(str(target), "this Python has no AF_VSOCK", "use another transport", permanent=True)
    return await connect_socket(socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM), (cid, port))


async def connect_socket(sock: socket.socket, address: tuple[int, int] | tuple[str, int] | str) -> ByteStream:
    """Connect a socket; it is closed if that fails. Raises OSError."""
    try:
        sock.setblocking(False)
        code = sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            await anyio.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        return SocketBytes(sock)
    except BaseException:
        sock.close()
        raise


async def _open_proxy(target: Target, path: str, port: int) -> ByteStream:
    stream = await _open_unix(path)
    try:
        await stream.send(b"CONNECT %d\n" % port)
        answer = await _proxy_line(stream)
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        answer = b""
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise
    if answer.startswith(b"OK "):
        return stream
    await anyio.aclose_forcefully(stream)
    raise DialFailed(str(target), f"the proxy closed port {port}", "is taskd listening on it inside the guest?")


async def _proxy_line(stream: ByteStream) -> bytes:
    # One byte at a time: what follows the line is the daemon's already.
    line = b""
    while not line.endswith(b"\n") and len(line) < MAX_PROXY_LINE_BYTES:
        line += await stream.receive(1)
    return line


async def _open_child(target: Target, command: str) -> ByteStream:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise DialFailed(str(target), f"the command cannot be split: {error}", permanent=True) from error
    process = await anyio.open_process(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None)
    return ChildStream(process)


def _proxy(text: str) -> ProxyAddress:
    path, _, port = text.removeprefix("fc:").rpartition(":")
    if not path.startswith("/") or not (port.isascii() and port.isdecimal()) or int(port) > 0xFFFF_FFFF:
        raise AddressError(text, "use fc:/PATH:PORT with the absolute path of the hypervisor's socket")
    return ProxyAddress(path, int(port))


def _nearest(environ: Mapping[str, str]) -> Target:
    places = client_sockets(environ, os.getuid(), _home(environ))
    return next((place for place in places if Path(place.path).exists()), places[0])


def _home(environ: Mapping[str, str]) -> str:
    return environ.get("HOME", "/")


def _own_token(environ: Mapping[str, str], address: str) -> str | None:
    path = Path(default_token_file(default_state_dir(environ, os.getuid(), _home(environ))))
    try:
        return _token_of(path, address)
    except DialFailed:
        return None


def _token_of(path: Path, address: str) -> str:
    try:
        with path.open("rb") as file:
            token = file.read(MAX_TOKEN_BYTES + 1).strip()
    except OSError as error:
        reason = f"the token file {path} cannot be read: {error.strerror}"
        # A daemon that is being started has not made its token yet.
        permanent = not isinstance(error, FileNotFoundError)
        raise DialFailed(address, reason, "name another token_file, or set TASKD_TOKEN", permanent=permanent) from error
    if not token or len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise DialFailed(address, f"the token file {path} holds no token", permanent=True)
    return token.decode("ascii")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _failed(target: Target, error: OSError) -> DialFailed:
    reason = error.strerror or str(error) or type(error).__name__
    return DialFailed(str(target), reason, _hint(target, error))


def _hint(target: Target, error: OSError) -> str:
    if isinstance(target, ExecAddress):
        return "check that the command is installed and on PATH"
    if isinstance(error, FileNotFoundError):
        return "there is no such socket; start taskd, or name its socket"
    if isinstance(error, PermissionError):
        return "your user may not open this socket; join its group, or run as the user that taskd serves"
    if isinstance(error, BlockingIOError):
        return "more hosts wait there than it accepts; is taskd stuck?"
    # vsock says reset where the others say refused.
    if isinstance(error, ConnectionRefusedError | ConnectionResetError):
        return "nobody listens there; start taskd"
    if isinstance(error, socket.gaierror):
        return "check the host's name"
    return "check that the guest runs and that taskd listens on this address"
