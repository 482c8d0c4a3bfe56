"""Unix sockets: the default door, and the only one on which the kernel vouches for the peer's user.

A socket file that is left over is replaced only if nobody answers on it, and at the end only our own file is removed.
Both happen under a lock on the folder, so that two daemons that start at once cannot remove each other's file.
"""

import errno
import fcntl
import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from taskd.edge.transports.door import BACKLOG, BindError, Bound, PeerFacts, SocketFile
from taskd.model.address import UnixAddress

_CREDENTIALS = struct.Struct("3i")
"""`struct ucred`: pid, uid, gid."""


def bind(address: UnixAddress) -> Bound:
    """Listen on a socket file of mode 0600; a missing folder is made with mode 0700.

    Raises:
        BindError: another process listens there, something else than a socket is there, or the folder is not ours.
    """
    made_folder = _make_folder(address)
    with _folder_locked(address) as folder:
        if folder is None:
            raise BindError(address, "another process is just opening or closing a socket in this folder")
        _remove_stale(address)
        sock = _listening(address)
    found = os.lstat(address.path)
    return Bound(sock, address, SocketFile(address.path, found.st_dev, found.st_ino, made_folder))


def share(file: SocketFile) -> None:
    """Let every user connect, for when uids besides our own may speak.

    File modes cannot name a list of users, so the gate is the check of the peer's uid at every accept.
    """
    os.chmod(file.path, 0o666)
    if file.made_folder:
        os.chmod(os.path.dirname(file.path), 0o711)


def remove(file: SocketFile) -> None:
    """Remove the socket file if it is still ours. Must be called while our socket is open: that pins the inode."""
    with suppress(OSError), _folder_locked(UnixAddress(file.path)) as folder:
        if folder is None:
            return  # It stays behind, and the next start replaces it.
        found = os.lstat(file.path)
        if (found.st_dev, found.st_ino) == (file.device, file.inode):
            os.unlink(file.path)


def tune(sock: socket.socket) -> None:
    """Nothing to set: the kernel's defaults are right for local streams."""


def peer_facts(sock: socket.socket) -> PeerFacts:
    """Ask for the peer's credentials; they are those of the process that called connect."""
    pid, uid, gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return PeerFacts("unix", uid=uid, gid=gid, pid=pid or None)


def address_of(sock: socket.socket) -> UnixAddress:
    """Give the path; an abstract name is shown with `@`, as everybody does."""
    name = sock.getsockname()
    return UnixAddress("@" + name[1:].decode("utf-8", "replace") if isinstance(name, bytes) else name)


def _make_folder(address: UnixAddress) -> bool:
    folder = os.path.dirname(address.path)
    if os.path.isdir(folder):
        return False
    try:
        os.makedirs(folder, mode=0o700)
    except OSError as error:
        raise BindError(address, f"the folder {folder} cannot be made: {error.strerror}") from error
    return True


@contextmanager
def _folder_locked(address: UnixAddress) -> Iterator[int | None]:
    """Hold a lock on the folder itself, which leaves no lock file behind; gives None if another holds it."""
    try:
        folder = os.open(os.path.dirname(address.path) or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BindError(address, f"the folder cannot be opened: {error.strerror}") from error
    try:
        yield folder if _lock(folder) else None
    finally:
        os.close(folder)


def _lock(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_stale(address: UnixAddress) -> None:
    try:
        found = os.lstat(address.path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise BindError(address, f"cannot be looked at: {error.strerror}") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise BindError(address, "something that is no socket is there; remove it, or choose another path")
    if _answers(address.path):
        raise BindError(address, "another process listens there; stop it, or choose another path")
    try:
        os.unlink(address.path)
    except OSError as error:
        raise BindError(address, f"the stale socket there cannot be removed: {error.strerror}") from error


def _answers(path: str) -> bool:
    """Say whether somebody listens. Only a refusal proves that nobody does; a full backlog is somebody."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) not in (errno.ECONNREFUSED, errno.ENOENT)


def _listening(address: UnixAddress) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The file must never be open to others, not even between bind and chmod. The umask is the process's, which is why
    # this runs before there are threads, or while the only others are workers that make files of mode 0600.
    before = os.umask(0o177)
    try:
        sock.bind(address.path)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise BindError(address, error.strerror or str(error)) from error
    finally:
        os.umask(before)
    return sock
