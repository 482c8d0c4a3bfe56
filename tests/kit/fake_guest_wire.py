"""What a fake guest is made of below its behaviour: streams in memory, requests and answers of both dialects.

Plain JSON on purpose: a fault that both ends of the product share would not be seen with their own encoder.
"""

import json
import math
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, NamedTuple

import anyio
from anyio.abc import ByteStream, SocketStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

Object = dict[str, Any]

PIECES: Final = 4096
"""Writes that a pipe of `MemoryBytes` holds before a writer waits."""

AT: Final = "2026-01-01T00:00:00.000Z"

NUMBERS: Final = {"TASK_NOT_FOUND": -32001, "TASK_NOT_READY": -32002, "UNAUTHENTICATED": -32008}

P0_NAMES: Final = {
    "runtime_get_state": "get_state",
    "runtime_diag": "diag",
    "pi_get_available_models": "list_models",
    "pi_set_model": "set_model",
    "extension_ui_response": "answer",
}


class Request(NamedTuple):
    """A line of a host."""

    id: str
    method: str
    params: Object
    connection: "Connection"


class Refusal(Exception):
    """Raised by a handler to refuse a request."""

    def __init__(self, code: str, message: str, retryable: bool = False, details: Object | None = None) -> None:
        super().__init__(message)
        self.body: Object = {"code": code, "message": message, "retryable": retryable, "details": details or {}}


class MemoryBytes(ByteStream):
    """One end of a stream of bytes in memory."""

    def __init__(self, out: MemoryObjectSendStream[bytes], into: MemoryObjectReceiveStream[bytes]) -> None:
        self._out = out
        self._into = into
        self._rest = b""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Give what has come."""
        data = self._rest or await self._into.receive()
        self._rest = data[max_bytes:]
        return data[:max_bytes]

    async def send(self, item: bytes) -> None:
        """Write."""
        await self._out.send(item)

    async def send_eof(self) -> None:
        """Write no more."""
        await self._out.aclose()

    async def aclose(self) -> None:
        """Close both directions."""
        await self._out.aclose()
        await self._into.aclose()


async def accept(listener: socket.socket, serve: Callable[[SocketStream], Coroutine[Any, Any, None]]) -> None:
    """Serve whoever connects, until cancelled.

    Not anyio's listeners: on asyncio their streams can raise in the loop when they are cancelled while data arrives.
    """
    listener.setblocking(False)
    with listener:
        async with anyio.create_task_group() as tasks:
            while True:
                await anyio.wait_readable(listener)
                with suppress(BlockingIOError):
                    tasks.start_soon(serve, await SocketStream.from_socket(listener.accept()[0]))


def unix_listener(path: str) -> socket.socket:
    """Give a listening socket for `accept`."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    return listener


def memory_pair(pieces: int = PIECES) -> tuple[MemoryBytes, MemoryBytes]:
    """Give both ends of a stream."""
    to_left, from_right = anyio.create_memory_object_stream[bytes](pieces)
    to_right, from_left = anyio.create_memory_object_stream[bytes](pieces)
    return MemoryBytes(to_right, from_right), MemoryBytes(to_left, from_left)


class Connection:
    """One host as the guest sees it. Its dialect is that of its first line; what is said to it keeps its order."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.p0: bool | None = None
        self.client_id: str | None = None
        self.admitted = True
        self.lines: list[bytes] = []
        """Every line it has sent, blank ones too."""
        self._outbox, self._to_write = anyio.create_memory_object_stream[bytes](math.inf)

    def send(self, message: Object) -> None:
        """Write a message, unless one side has hung up."""
        self.send_bytes(json.dumps(message).encode() + b"\n")

    def send_bytes(self, data: bytes) -> None:
        """Write bytes as they are."""
        with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._outbox.send_nowait(data)

    def hang_up(self) -> None:
        """Close it, once all is written."""
        self._outbox.close()

    async def write_to(self, stream: ByteStream) -> None:
        """Write what is to be written, until one side has hung up."""
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError), self._to_write:
            async for data in self._to_write:
                await stream.send(data)
        self._outbox.close()

    def read(self, line: bytes) -> Request | None:
        """Give the request of a line; None for a blank one. The first one decides the dialect."""
        self.lines.append(line)
        if not line.strip():
            return None
        body = json.loads(line)
        if self.p0 is None:
            self.p0 = "jsonrpc" not in body
        if self.p0:
            return Request(body["id"], P0_NAMES.get(body["type"], body["type"]), body["payload"], self)
        assert body["jsonrpc"] == "2.0"
        return Request(body["id"], body["method"], body["params"], self)

    def answer(self, request: Request, result: Object) -> None:
        """Answer a request."""
        if self.p0:
            self.send({"id": request.id, "ok": True, "result": result})
        else:
            self.send({"jsonrpc": "2.0", "id": request.id, "result": result})

    def refuse(self, request: Request, refusal: Refusal) -> None:
        """Refuse a request."""
        body = refusal.body
        if self.p0:
            self.send({"id": request.id, "ok": False, "error": body})
            return
        data = {name: body[name] for name in ("code", "retryable", "details")}
        error = {"code": NUMBERS.get(body["code"], -32603), "message": body["message"], "data": data}
        self.send({"jsonrpc": "2.0", "id": request.id, "error": error})

    def tell(self, seq: int, name: str, task_id: str | None, fields: Object) -> None:
        """Tell an event, once the host has spoken and may hear it."""
        if self.p0 is None or not self.admitted:
            return
        if self.p0:
            event: Object = {"type": "event", "event": name, "timestamp": AT, "taskId": task_id, "payload": fields}
        else:
            params: Object = {"seq": seq, "at": AT} | ({"taskId": task_id} if task_id else {}) | fields
            event = {"jsonrpc": "2.0", "method": name, "params": params}
        self.send(event)
