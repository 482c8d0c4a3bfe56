"""vsock: the door between a VM and the machine that it runs on; it needs no network in the guest.

The address of a peer (its CID) is given by the hypervisor, so it can be trusted as a peer's uid can.
"""

import socket

from taskd.edge.transports.door import BACKLOG, BindError, Bound, PeerFacts
from taskd.model.address import VsockAddress


def bind(address: VsockAddress) -> Bound:
    """Listen on a port; port 0 lets the kernel choose.

    Raises:
        BindError: the kernel has no vsock, or the port is taken.
    """
    try:
        sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    except OSError as error:
        raise BindError(address, "this kernel has no vsock (is the module loaded?)") from error
    cid = socket.VMADDR_CID_ANY if address.cid is None else address.cid
    try:
        sock.bind((cid, address.port or socket.VMADDR_PORT_ANY))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise BindError(address, error.strerror or str(error)) from error
    return Bound(sock, address_of(sock))


def tune(sock: socket.socket) -> None:
    """Nothing to set: vsock has no Nagle, and the hypervisor reports a peer that is gone."""


def peer_facts(sock: socket.socket) -> PeerFacts:
    """Give the peer's CID and port."""
    cid, port = sock.getpeername()
    return PeerFacts("vsock", cid=cid, port=port)


def address_of(sock: socket.socket) -> VsockAddress:
    """Give the address with the port that the kernel chose."""
    cid, port = sock.getsockname()
    return VsockAddress(port, None if cid == socket.VMADDR_CID_ANY else cid)
