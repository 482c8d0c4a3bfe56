"""Sockets that systemd has opened for us (sd_listen_fds).

All sockets of one `.socket` unit carry the same name, so they are told apart by what the kernel says of them: family,
type, and whether they listen. Only `LISTEN_*` and the given numbers are looked at; files of such sockets are systemd's,
and are not removed at the end.
"""

import os
import socket
import stat
from collections.abc import Mapping
from typing import Final, NamedTuple

from taskd.edge.transports import tcp, unix, vsock
from taskd.edge.transports.door import BindError, Bound, Transport
from taskd.model.address import SystemdAddress

FIRST_FD: Final = 3
"""SD_LISTEN_FDS_START."""

MAX_FDS: Final = 64
"""More sockets than a unit for this daemon could sensibly have."""

TRANSPORTS: Final[dict[int, Transport]] = {
    socket.AF_UNIX: unix,
    socket.AF_INET: tcp,
    socket.AF_INET6: tcp,
    socket.AF_VSOCK: vsock,
}
"""Which sibling serves which family."""


class ListenFd(NamedTuple):
    """One inherited descriptor and its unit's name for it."""

    fd: int
    name: str


def listen_fds(environ: Mapping[str, str], pid: int) -> tuple[ListenFd, ...]:
    """Read `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES`; nothing if they are meant for another process.

    Raises:
        BindError: they are meant for us and make no sense.
    """
    if environ.get("LISTEN_PID") != str(pid):
        return ()
    count = environ.get("LISTEN_FDS", "")
    if not (count.isascii() and count.isdecimal() and int(count) <= MAX_FDS):
        raise BindError(SystemdAddress(), f"LISTEN_FDS must be a number from 0 to {MAX_FDS}, not {count!r}")
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    names += [""] * (int(count) - len(names))
    return tuple(ListenFd(FIRST_FD + index, names[index] or "unknown") for index in range(int(count)))


def adopt(inherited: ListenFd) -> Bound:
    """Take over one descriptor as a listening socket of ours.

    Raises:
        BindError: it is no listening stream socket of a family that we serve.
    """
    try:
        if not stat.S_ISSOCK(os.fstat(inherited.fd).st_mode):
            raise _unfit(inherited, "it is no socket")
        os.set_inheritable(inherited.fd, False)
        sock = socket.socket(fileno=inherited.fd)
    except BindError:
        raise
    except OSError as error:
        raise _unfit(inherited, error.strerror or str(error)) from error
    try:
        return _checked(inherited, sock)
    except BindError:
        sock.close()
        raise


def transport_of(sock: socket.socket) -> Transport:
    """Give the sibling that serves this socket's family."""
    return TRANSPORTS[sock.family]


def _checked(inherited: ListenFd, sock: socket.socket) -> Bound:
    if sock.family not in TRANSPORTS:
        raise _unfit(inherited, f"its family {sock.family} is none that we serve")
    if sock.type != socket.SOCK_STREAM:
        raise _unfit(inherited, "it is no stream socket; use ListenStream=")
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise _unfit(inherited, "it does not listen; use Accept=no")
    sock.setblocking(False)
    return Bound(sock, transport_of(sock).address_of(sock))


def _unfit(inherited: ListenFd, reason: str) -> BindError:
    return BindError(SystemdAddress(), f"descriptor {inherited.fd} ({inherited.name}): {reason}")
