"""The measuring client: one blocking socket, lines out and in, in either dialect, and next to nothing besides.

A request is encoded before the clock starts. Of a line it decodes what a measurement needs and skips the rest. The
same code speaks to the floor and to a daemon, so that its own cost is in both. It must not know what is measured.
"""

import secrets
import socket
import struct
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

import msgspec

from host_client.dial import Target
from host_client.errors import HostError
from taskd.model.address import TcpAddress, UnixAddress, VsockAddress
from taskd.wire.framing import LineSplitter
from taskd.wire.registry import TONGUES

PATIENCE_SECONDS: Final = 60.0
"""The longest wait for the next bytes; only a hang reaches it."""
MAX_LINE_BYTES: Final = 256 << 20
"""A merged delta is as long as what the daemon read at once; nothing else is long."""
READ_BYTES: Final = 256 << 10

_NOTHING: Final = msgspec.Raw(b"")


class BenchError(HostError):
    """A measurement cannot go on; the message says why and what to do."""


class Refused(BenchError):
    """The daemon has refused a call."""


class Body(msgspec.Struct, frozen=True, rename="camel"):
    """What measurements read of an event's own fields."""

    task_id: str | None = None
    chunk: str = ""
    save_ms: float = 0.0
    message: str = ""
    reason: str = ""


class _RpcLine(msgspec.Struct, frozen=True, rename={"name": "method", "body": "params"}):
    id: str | int | float | None = None
    name: str = ""
    body: Body = Body()
    result: msgspec.Raw = _NOTHING
    error: msgspec.Raw = _NOTHING

    @property
    def task(self) -> str | None:
        return self.body.task_id


class _P0Line(msgspec.Struct, frozen=True, rename={"name": "event", "body": "payload", "task": "taskId"}):
    id: str | int | float | None = None
    name: str = ""
    body: Body = Body()
    task: str | None = None
    ok: bool | None = None
    result: msgspec.Raw = _NOTHING
    error: msgspec.Raw = _NOTHING


Line = _RpcLine | _P0Line
_DECODE: Final[dict[str, Callable[[bytes], Line]]] = {
    "jsonrpc": msgspec.json.Decoder(_RpcLine).decode,
    "p0": msgspec.json.Decoder(_P0Line).decode,
}
DIALECTS: Final = tuple(_DECODE)


class Probe:
    """One channel. Close it, or use it as a context.

    Args:
        target: where to connect.
        dialect: one of `DIALECTS`.
    """

    def __init__(self, target: Target, dialect: str) -> None:
        self.target = target
        self.dialect = dialect
        self._tongue = TONGUES[dialect]()
        self._decode = _DECODE[dialect]
        self._splitter = LineSplitter(MAX_LINE_BYTES)
        self._lines: deque[bytes] = deque()
        self._calls = 0
        self._name = secrets.token_hex(4)
        """Request ids of P0 are the daemon's, not the channel's, and are remembered."""
        self._sock = connect(target)

    def __enter__(self) -> "Probe":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Give the socket's descriptor, for selectors."""
        return self._sock.fileno()

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def request(self, method: str, **params: Any) -> tuple[str, bytes]:
        """Give the id and the line of a request, to be sent later."""
        self._calls += 1
        id = f"{self._name}-{self._calls}"
        return id, self._tongue.ask(id, method, params)

    def send(self, data: bytes) -> None:
        """Send what `request` gave."""
        self._sock.sendall(data)

    def call(self, method: str, **params: Any) -> Any:
        """Ask and wait for the answer; give the result.

        Raises:
            Refused: the answer is an error.
        """
        id, line = self.request(method, **params)
        self.send(line)
        return self.answer(id, method)

    def answer(self, id: str, method: str = "the call") -> Any:
        """Wait for the answer of a request."""
        line = self.until(lambda line: line.id == id and not line.name)
        if line.error:
            raise Refused(f"{method} was refused: {bytes(line.error).decode('utf-8', 'replace')[:500]}")
        return msgspec.json.decode(line.result)

    def event(self, name: str, task: str | None = None) -> Line:
        """Wait for an event.

        Raises:
            BenchError: `task_error` came instead.
        """
        line = self.until(lambda line: line.name in (name, "task_error") and task in (None, line.task))
        if line.name != name:
            raise BenchError(f"task_error instead of {name}: {line.body.message}")
        return line

    def until(self, fits: Callable[[Line], bool]) -> Line:
        """Take lines until one fits."""
        while True:
            line = self.next()
            if fits(line):
                return line

    def next(self) -> Line:
        """Take the next line. What the client cannot read (an agent's own lines, in P0) is passed over.

        Raises:
            BenchError: the daemon says nothing, or has closed the channel.
        """
        while True:
            if not self._lines:
                self._lines.extend(line for line in self._splitter.feed(self._receive()) if isinstance(line, bytes))
                continue
            try:
                line = self._decode(self._lines.popleft())
            except msgspec.DecodeError:
                continue
            if line.name == "channel_closing":
                raise BenchError(f"the daemon closed the channel: {line.body.reason}")
            return line

    def _receive(self) -> bytes:
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            raise BenchError(f"the daemon has said nothing for {PATIENCE_SECONDS:g} s") from None
        except OSError as error:
            raise BenchError(f"the channel broke: {error}") from error
        if not data:
            raise BenchError("the daemon closed the channel")
        return data


def connect(target: Target) -> socket.socket:
    """Connect a blocking socket.

    Raises:
        BenchError: the address is of a kind that no plain socket reaches.
        OSError: nobody answers there.
    """
    match target:
        case UnixAddress(path):
            return _connected(socket.socket(socket.AF_UNIX), path)
        case TcpAddress(host, port):
            sock = socket.create_connection((host, port), PATIENCE_SECONDS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return _bounded(sock)
        case VsockAddress(port, cid) if cid is not None:
            return _connected(socket.socket(socket.AF_VSOCK), (cid, port))
    raise BenchError(f"cannot measure over {target}: use unix:/PATH, tcp:HOST:PORT or vsock:CID:PORT")


def _connected(sock: socket.socket, address: Any) -> socket.socket:
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return _bounded(sock)


def _bounded(sock: socket.socket) -> socket.socket:
    """Bound the waits of a socket in the kernel: Python's own timeout costs another system call for each read."""
    sock.settimeout(None)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(PATIENCE_SECONDS), 0))
    return sock


def elapsed_ms(since: float) -> float:
    """Give the milliseconds since a `perf_counter`."""
    return (perf_counter() - since) * 1000
