"""One connection as bytes: raw non-blocking descriptors, waited for by the event loop.

Reads try first and wait only when there is nothing; writes never wait, so that a slow host costs its sender nothing but
the bytes it keeps. Measured, this is faster than streams, and it is the same on both event loops.

Nothing here knows lines, hosts or bounds: how much to read and to keep is for the connection.
"""

import socket
from typing import Protocol

import anyio
import anyio.lowlevel

from taskd.edge.transports.door import PeerFacts


class Link(Protocol):
    """A connection. Faults of the peer are `OSError`; after our own `close`, all calls raise `ClosedResourceError`."""

    peer: PeerFacts

    async def read(self, max_bytes: int) -> bytes:
        """Wait for bytes and give at most so many; `b""` means that the peer will send no more.

        Always lets other tasks run, so that a peer that never pauses cannot hold the event loop.
        """

    def write_now(self, data: bytes | memoryview) -> int:
        """Give bytes to the kernel and say how many it took: 0 when it would have to wait."""

    async def wait_writable(self) -> None:
        """Wait until `write_now` may take something, or the link is broken."""

    def close(self) -> None:
        """Close it; whoever waits for it gets `ClosedResourceError`. A second call does nothing."""


class SocketLink:
    """A link over a connected stream socket, which it owns."""

    def __init__(self, sock: socket.socket, peer: PeerFacts) -> None:
        sock.setblocking(False)
        self.peer = peer
        self._sock = sock
        self._closed = False
        self._waited = True

    async def read(self, max_bytes: int) -> bytes:
        """See `Link`."""
        # A whole turn of the event loop is due only where the last read did not give others theirs by waiting.
        await (anyio.lowlevel.checkpoint_if_cancelled() if self._waited else anyio.lowlevel.checkpoint())
        self._waited = False
        while True:
            self._check_open()
            try:
                return self._sock.recv(max_bytes)
            except BlockingIOError:
                self._waited = True
                await anyio.wait_readable(self._sock)

    def write_now(self, data: bytes | memoryview) -> int:
        """See `Link`."""
        self._check_open()
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    async def wait_writable(self) -> None:
        """See `Link`."""
        self._check_open()
        await anyio.wait_writable(self._sock)

    def close(self) -> None:
        """See `Link`."""
        if not self._closed:
            self._closed = True
            anyio.notify_closing(self._sock)
            self._sock.close()

    def _check_open(self) -> None:
        if self._closed:
            raise anyio.ClosedResourceError
