"""A connected socket as a stream of bytes, with the shortest way to the kernel that both event loops allow.

It differs from anyio's own streams in what a host of an agent feels: a line is given to the kernel at once by
`send_now`, without a turn of the event loop, and a burst is read until the kernel has no more of it. It serves unix,
TCP and vsock sockets alike, which anyio has no common stream for; and on asyncio anyio's unix stream can report an
error of its own making when it is cancelled while data arrives (4.16: `set_result` on a cancelled future).
"""

import socket
from typing import Final

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream

_BREATH: Final = 16
"""Reads in a row without waiting before the event loop is let run."""


class SocketBytes(ByteStream):
    """The stream of one connected socket, which it owns. One reader and one writer at a time."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._reads = 0

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Read what is there, or wait for it."""
        self._reads += 1
        if self._reads % _BREATH == 0:
            await anyio.lowlevel.checkpoint()
        while True:
            try:
                data = self._socket.recv(max_bytes)
                break
            except BlockingIOError:
                self._reads = 0
                await anyio.wait_readable(self._socket)
            except OSError as error:
                raise self._failed() from error
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        """Write all of it."""
        rest = memoryview(item)[self.send_now(item) :]
        while rest:
            await anyio.wait_writable(self._socket)
            rest = rest[self.send_now(rest) :]

    def send_now(self, item: bytes | memoryview) -> int:
        """Write what the kernel takes now, and give how much that was.

        Raises:
            anyio.BrokenResourceError: the other side is gone.
            anyio.ClosedResourceError: this side is closed.
        """
        try:
            return self._socket.send(item)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._failed() from error

    async def send_eof(self) -> None:
        """Write no more."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._failed() from error

    async def aclose(self) -> None:
        """Close both directions; whoever reads or writes is woken."""
        if self._socket.fileno() >= 0:
            anyio.notify_closing(self._socket)
            self._socket.close()
        await anyio.lowlevel.checkpoint()

    def _failed(self) -> anyio.BrokenResourceError | anyio.ClosedResourceError:
        return anyio.ClosedResourceError() if self._socket.fileno() < 0 else anyio.BrokenResourceError()
