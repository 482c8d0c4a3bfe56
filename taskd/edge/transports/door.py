"""What the transports have in common: a bound socket, facts about a peer, the fault of a bind.

Nothing here judges a peer or imports an event loop.
"""

import socket
from typing import NamedTuple, Protocol

from taskd.model.address import Address

BACKLOG = 128
"""Connections that the kernel keeps for us while we start or are busy; more than hosts that we admit."""


class PeerFacts(NamedTuple):
    """Who is at the other end, as far as the kernel says; what it does not say is None.

    `transport` is unix, tcp, vsock or stdio. `uid`, `gid` and `pid` are those of the moment of the connect. `host` is
    an IP address, `cid` a vsock address.
    """

    transport: str
    uid: int | None = None
    gid: int | None = None
    pid: int | None = None
    cid: int | None = None
    host: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        facts = zip(self._fields[1:], self[1:], strict=True)
        return " ".join([self.transport, *(f"{name}={value}" for name, value in facts if value is not None)])


class BindError(OSError):
    """An address that cannot be listened on; the message names it, the reason, and what would help."""

    def __init__(self, address: Address, reason: str) -> None:
        super().__init__(f"cannot listen on {address}: {reason}")
        self.address = address
        self.reason = reason


class SocketFile(NamedTuple):
    """The file of a unix socket that we made, so that at the end only that one is removed."""

    path: str
    device: int
    inode: int
    made_folder: bool


class Bound(NamedTuple):
    """A listening, non-blocking socket. `address` holds the real port; `file` is there if a file is ours to remove."""

    sock: socket.socket
    address: Address
    file: SocketFile | None = None


class Transport(Protocol):
    """What the siblings give, as modules."""

    def tune(self, sock: socket.socket) -> None:
        """Set the options of an accepted socket."""

    def peer_facts(self, sock: socket.socket) -> PeerFacts:
        """Ask the kernel who is at the other end of an accepted socket."""

    def address_of(self, sock: socket.socket) -> Address:
        """Give the address that a listening socket has."""
