"""Listening before anything else: while the daemon still loads itself, the kernel already takes connections.

Imports nothing but sockets and addresses, and of the siblings only those that are asked for. A connection that comes in
meanwhile waits in the backlog.
"""

import os
from collections.abc import Iterable

from taskd.edge.transports.door import BindError, Bound
from taskd.model.address import Address, StdioAddress, SystemdAddress, TcpAddress, UnixAddress, VsockAddress


def bind_early(address: Address) -> Bound:
    """Listen on one address.

    Raises:
        BindError: it cannot be listened on, or is an address that only a host can use.
    """
    match address:
        case UnixAddress():
            from taskd.edge.transports import unix

            return unix.bind(address)
        case TcpAddress():
            from taskd.edge.transports import tcp

            return tcp.bind(address)
        case VsockAddress():
            from taskd.edge.transports import vsock

            return vsock.bind(address)
        case _:
            raise BindError(address, "it is no address of a socket")


def bind_all(addresses: Iterable[Address]) -> list[Bound]:
    """Listen on all of them, or on none, and on all inherited sockets; `stdio` needs no socket.

    `systemd` among the addresses says that there must be inherited ones.

    Raises:
        BindError: for the first that cannot be listened on; those before it are closed again.
    """
    wanted = tuple(addresses)
    bound: list[Bound] = []
    try:
        bound += _adopt_all(required=any(isinstance(address, SystemdAddress) for address in wanted))
        taken = {str(one.address) for one in bound}
        for address in wanted:
            if not isinstance(address, StdioAddress | SystemdAddress) and str(address) not in taken:
                bound.append(bind_early(address))
    except BaseException:
        release(bound)
        raise
    return bound


def release(bound: Iterable[Bound]) -> None:
    """Close sockets that no listener was made of, and remove their files."""
    for one in bound:
        if one.file is not None:
            from taskd.edge.transports import unix

            unix.remove(one.file)
        one.sock.close()


def _adopt_all(*, required: bool) -> list[Bound]:
    if not required and "LISTEN_FDS" not in os.environ:
        return []
    from taskd.edge.transports.inherited import adopt, listen_fds

    found = listen_fds(os.environ, os.getpid())
    if required and not found:
        raise BindError(SystemdAddress(), "no sockets were passed; is there a .socket unit?")
    return [adopt(one) for one in found]
