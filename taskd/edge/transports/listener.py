"""Accepting: a bound socket becomes links, one after the other.

A peer that breaks off while it is accepted is no fault of ours and is passed over. When the process has no descriptors
left, accepting pauses: the connection stays in the kernel's queue, so trying again at once would be a busy loop.
"""

import errno
import socket
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import anyio
import anyio.lowlevel

from taskd.edge.transports import unix
from taskd.edge.transports.door import Bound
from taskd.edge.transports.inherited import transport_of
from taskd.edge.transports.link import Link, SocketLink
from taskd.model.address import Address

FIRST_PAUSE_SECONDS: Final = 0.01
"""The first pause when no descriptor is free; each further one is twice as long."""
LONGEST_PAUSE_SECONDS: Final = 1.0
"""The bound of a pause: a host gives up after some seconds, so a freed descriptor must be seen before."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PEERS_FAULT: Final = frozenset(
    # accept(2): Linux reports errors that are pending on the new socket here; they are to be treated like EAGAIN.
    {errno.ECONNABORTED, errno.ECONNRESET, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.ENOPROTOOPT,
     errno.EHOSTDOWN, errno.ENONET, errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.ETIMEDOUT}
)  # fmt: skip


class Listener(Protocol):
    """A door. `address` is the real one, with the port that the kernel chose."""

    address: Address

    async def accept(self) -> Link:
        """Wait for the next connection. Raises `ClosedResourceError` after `close`."""

    def close(self) -> None:
        """Stop listening. A second call does nothing."""


class SocketListener:
    """A listener over a bound socket, which it owns together with its file."""

    def __init__(self, bound: Bound, *, sleep: Callable[[float], Awaitable[None]] = anyio.sleep) -> None:
        self.address = bound.address
        self._sock = bound.sock
        self._file = bound.file
        self._transport = transport_of(bound.sock)
        self._sleep = sleep
        self._pause = FIRST_PAUSE_SECONDS
        self._closed = False

    async def accept(self) -> Link:
        """See `Listener`."""
        await anyio.lowlevel.checkpoint()
        while True:
            if self._closed:
                raise anyio.ClosedResourceError
            try:
                return self._linked(self._sock.accept()[0])
            except BlockingIOError:
                await anyio.wait_readable(self._sock)
            except OSError as error:
                await self._endure(error)

    def close(self) -> None:
        """See `Listener`."""
        if not self._closed:
            self._closed = True
            anyio.notify_closing(self._sock)
            if self._file is not None:
                unix.remove(self._file)
            self._sock.close()

    def _linked(self, sock: socket.socket) -> Link:
        self._pause = FIRST_PAUSE_SECONDS
        try:
            self._transport.tune(sock)
            return SocketLink(sock, self._transport.peer_facts(sock))
        except OSError as error:
            sock.close()
            # Whatever it is called, it is about a peer that has gone between its connect and our accept.
            raise ConnectionAbortedError(errno.ECONNABORTED, str(error)) from error

    async def _endure(self, error: OSError) -> None:
        if error.errno in _EXHAUSTED:
            await self._sleep(self._pause)
            self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        elif error.errno in _PEERS_FAULT:
            await anyio.lowlevel.checkpoint()
        else:
            raise error
