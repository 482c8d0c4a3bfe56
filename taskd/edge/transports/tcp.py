"""TCP: for guests without a better door. The token is asked for elsewhere; here are only the sockets.

A host that vanishes (a paused laptop, a killed VM) sends nothing, so both of TCP's detectors are set. Without them a
dead peer holds its channel for two hours when idle, and for some 15 minutes when something was sent to it.
"""

import socket

from taskd.edge.transports.door import BACKLOG, BindError, Bound, PeerFacts
from taskd.model.address import TcpAddress

KEEPALIVE_IDLE_SECONDS = 30
"""Silence before the first probe."""
KEEPALIVE_INTERVAL_SECONDS = 15
"""Between probes."""
KEEPALIVE_PROBES = 6
"""Unanswered probes before the connection is broken: 120 s in all, as below."""
USER_TIMEOUT_MILLISECONDS = 120_000
"""How long sent bytes may stay unacknowledged, or a peer's window closed. A host that stops reading for longer has to
reconnect; it loses nothing, because events are replayed."""


def bind(address: TcpAddress) -> Bound:
    """Listen on exactly the named address; `[::]` takes no IPv4, because nobody named it.

    Raises:
        BindError: the name is unknown, the address is not ours or taken.
    """
    try:
        family, _, _, _, where = _resolve(address)
    except OSError as error:
        raise BindError(address, f"the host is unknown: {error.strerror}") from error
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise BindError(address, error.strerror or str(error)) from error
    return Bound(sock, address_of(sock))


def tune(sock: socket.socket) -> None:
    """Send at once, and notice a peer that is gone. The sizes of the buffers are the kernel's to find."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MILLISECONDS)


def peer_facts(sock: socket.socket) -> PeerFacts:
    """Give the peer's IP address and port."""
    name = sock.getpeername()
    return PeerFacts("tcp", host=name[0], port=name[1])


def address_of(sock: socket.socket) -> TcpAddress:
    """Give the address with the port that the kernel chose."""
    name = sock.getsockname()
    return TcpAddress(name[0], name[1])


def is_loopback(host: str) -> bool:
    """Say whether an IP address, or the one name that means it, can be reached from this machine alone."""
    return host in ("localhost", "::1") or host.removeprefix("::ffff:").startswith("127.")


def _resolve(address: TcpAddress) -> tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return found[0]  # type: ignore[return-value] # the stub's last element also allows for families we did not ask for
