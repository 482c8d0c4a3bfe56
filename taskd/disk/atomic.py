"""Files that are whole at every instant, and durable when the call returns.

A `Folder` is an open descriptor; names are single components in exactly that folder, so nothing that happens to the
path above it can redirect a write, and links in the place of a file are replaced or refused, never followed. It must
not know what the bytes mean.

ASSUMES: `rename` and `link` are atomic with respect to a crash, and `fsync` returns only when the bytes (of a file) or
the names (of a folder) survive a power cut. No order between calls is assumed that no fsync enforces.
RACE: a crash leaves temporary files; they carry our prefix and `sweep` removes them. One writer for each folder at a
time is the caller's duty: a second one's temporary files would be swept under its hands.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final, NamedTuple, Self

from taskd.disk.beneath import PathRefused, Reason, check_relative, open_dir_beneath
from taskd.disk.syscalls import DISK, FILE_MODE, FOLDER_MODE, Disk

CHUNK_BYTES: Final = 256 << 10
"""One read when a file is copied or hashed; big enough to amortise the call, small enough to forget."""
_PREFIX: Final = ".taskd-"
_SUFFIX: Final = ".tmp"
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
"""How file systems without hard links (some 9p exports, vfat) refuse one."""


class TooBig(OSError):
    """A file is larger than the bound it was to be read with; `size` is in bytes."""

    def __init__(self, name: str, size: int, limit: int) -> None:
        super().__init__(errno.EFBIG, f"{size} bytes are more than {limit}", name)
        self.size = size


class Identity(NamedTuple):
    """What tells a file that we wrote from any other, and from itself after a change."""

    device: int
    inode: int
    size: int
    modified_ns: int


class Folder:
    """An open folder and the disk it is on. Close it, or use it as a context. Methods raise `OSError`."""

    def __init__(self, fd: int, disk: Disk = DISK) -> None:
        self.fd = fd
        self.disk = disk

    @classmethod
    def open(cls, path: str, disk: Disk = DISK) -> Self:
        """Open the folder at `path`, which is trusted: links in it are followed."""
        return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), disk)

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def folder(self, relative: str) -> "Folder":
        """Open a folder beneath this one; raises `PathRefused` as `open_dir_beneath`."""
        return Folder(open_dir_beneath(self.fd, relative), self.disk)

    def make_folder(self, name: str, mode: int = FOLDER_MODE) -> "Folder":
        """Open the folder `name`, made durably with exactly `mode` if it is missing. An existing one keeps its mode."""
        _check_name(name)
        try:
            self.disk.mkdir(name, mode, dir_fd=self.fd)
        except FileExistsError:
            return self.folder(name)
        made = self.folder(name)
        try:
            if stat.S_IMODE(os.fstat(made.fd).st_mode) != mode:
                os.fchmod(made.fd, mode)
            self.disk.sync(self.fd)
        except BaseException:
            made.close()
            raise
        return made

    def names(self) -> list[str]:
        """Give the names in the folder, sorted."""
        return sorted(os.listdir(self.fd))

    def open_regular(self, name: str, flags: int) -> int:
        """Open the regular file `name`; the caller closes the descriptor.

        Raises:
            PathRefused: a link, folder, pipe, socket or device is there. A pipe cannot block the open.
        """
        _check_name(name)
        try:
            fd = self.disk.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, FILE_MODE, dir_fd=self.fd)
        except OSError as fault:
            if fault.errno == errno.ELOOP:
                raise PathRefused(Reason.LINK, name) from None
            if fault.errno in (errno.EISDIR, errno.ENXIO, errno.ENODEV):
                raise PathRefused(Reason.NOT_A_FILE, name) from None
            raise
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise PathRefused(Reason.NOT_A_FILE, name)
        return fd

    @contextmanager
    def opened(self, name: str, flags: int = os.O_RDONLY) -> Iterator[int]:
        """Open as `open_regular` for the length of a `with`."""
        fd = self.open_regular(name, flags)
        try:
            yield fd
        finally:
            os.close(fd)

    def read_bounded(self, name: str, limit: int) -> bytes:
        """Read the whole of the regular file `name`, at most `limit` bytes; raises `TooBig` above that."""
        with self.opened(name) as fd:
            size = os.fstat(fd).st_size
            if size > limit:
                raise TooBig(name, size, limit)
            # RACE: the file may grow while it is read; one byte more than the bound is enough to know.
            data = b"".join(read_chunks(fd, 0, limit + 1, size + 1))
        if len(data) > limit:
            raise TooBig(name, len(data), limit)
        return data

    def read_unchanged(self, name: str, identity: Identity) -> bytes | None:
        """Read the file `name` if it still has this identity, else give None."""
        try:
            with self.opened(name) as fd:
                return b"".join(read_chunks(fd, 0, None, identity.size + 1)) if identify(fd) == identity else None
        except (FileNotFoundError, PathRefused):
            return None

    def write_atomic(self, name: str, data: bytes, *, durable: bool = True) -> Identity:
        """Put `data` at `name`, mode 0600: whoever looks, after a crash too, sees the old bytes or all the new ones."""
        return self.write_chunks(name, (data,), durable=durable)

    def write_chunks(self, name: str, chunks: Iterable[bytes | memoryview], *, durable: bool = True) -> Identity:
        """Do as `write_atomic` with bytes that come in pieces. Not `durable`: atomic while the machine runs."""
        _check_name(name)
        with self._temporary(chunks, durable=durable) as (tmp, identity):
            self.disk.rename(tmp, name, dir_fd=self.fd)
        if durable:
            self.disk.sync(self.fd)
        return identity

    def write_with_previous(self, name: str, previous: str, *pieces: bytes | memoryview) -> Identity:
        """Put the pieces, one behind the other, at `name`, and what was at `name` at `previous`.

        At every instant, also after a crash, `name` holds the old or the new bytes whole, and once it existed
        `previous` holds a whole older generation. When the last step (the fsync of the folder) fails, the new bytes are
        at `name` but may not survive a power cut.
        """
        _check_name(name)
        _check_name(previous)
        with self._temporary(pieces, durable=True) as (tmp, identity):
            with suppress(FileNotFoundError):
                self.copy_name(name, previous)
            # RACE: a crash here leaves both names on the old generation; the file system may also keep the second
            # rename and lose the first. Either way both are whole.
            self.disk.rename(tmp, name, dir_fd=self.fd)
        self.disk.sync(self.fd)
        return identity

    def copy_name(self, name: str, second: str) -> None:
        """Let `second` atomically be the same bytes as `name`, by a hard link where there are such; not synced."""
        tmp = _temporary_name()
        try:
            self.disk.link(name, tmp, dir_fd=self.fd)
        except OSError as fault:
            if fault.errno not in _NO_LINKS:
                raise
            self._copy_bytes(name, second)
            return
        try:
            # A rename between two names of one file does nothing, so the temporary name has to go by hand.
            self.disk.rename(tmp, second, dir_fd=self.fd)
        finally:
            with suppress(OSError):
                self.disk.unlink(tmp, dir_fd=self.fd)

    def sweep(self) -> int:
        """Remove the temporary files of earlier crashes; returns how many there were."""
        left = [name for name in self.names() if name.startswith(_PREFIX) and name.endswith(_SUFFIX)]
        for name in left:
            self.disk.unlink(name, dir_fd=self.fd)
        return len(left)

    def _copy_bytes(self, name: str, second: str) -> None:
        with self.opened(name) as fd, self._temporary(read_chunks(fd, 0), durable=True) as (tmp, _):
            self.disk.rename(tmp, second, dir_fd=self.fd)

    @contextmanager
    def _temporary(self, chunks: Iterable[bytes | memoryview], *, durable: bool) -> Iterator[tuple[str, Identity]]:
        """Make a synced temporary file, gone again when the body fails (a full disk gets its space back)."""
        tmp = _temporary_name()
        fd = self.disk.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE, dir_fd=self.fd)
        try:
            try:
                offset = 0
                for chunk in chunks:
                    offset = write_all(fd, chunk, offset, self.disk)
                if durable:
                    self.disk.sync(fd)
                identity = identify(fd)
            finally:
                os.close(fd)
            yield tmp, identity
        except Exception:
            with suppress(OSError):
                self.disk.unlink(tmp, dir_fd=self.fd)
            raise


def identify(fd: int) -> Identity:
    """Give the identity of an open file."""
    found = os.fstat(fd)
    return Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def write_all(fd: int, data: bytes | memoryview, offset: int, disk: Disk = DISK) -> int:
    """Write all of `data` at `offset`; returns the offset behind it. Nothing is synced."""
    view = memoryview(data)
    while view:
        taken = disk.write(fd, view, offset)
        if taken <= 0:
            raise OSError(errno.EIO, "a write took nothing")
        offset += taken
        view = view[taken:]
    return offset


def read_chunks(fd: int, start: int, end: int | None = None, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Give the bytes from `start` up to `end` (or the file's end) in chunks; a short file ends early."""
    while end is None or start < end:
        size = chunk_bytes if end is None else min(chunk_bytes, end - start)
        chunk = os.pread(fd, size, start)
        if not chunk:
            return
        yield chunk
        start += len(chunk)


def append_durable(fd: int, data: bytes, disk: Disk = DISK) -> int:
    """Append `data` to an open file and make it durable; returns the file's size before.

    When a write or the fsync fails the file is cut back to that size, as far as the disk lets us. A power cut may leave
    any part of `data`: records need a checksum or an end mark of their own.
    """
    before = os.fstat(fd).st_size
    try:
        write_all(fd, data, before, disk)
        disk.sync(fd)
    except OSError:
        with suppress(OSError):
            disk.truncate(fd, before)
        raise
    return before


def write_atomic(path: str, data: bytes, disk: Disk = DISK) -> None:
    """`Folder.write_atomic` for a path whose folder is trusted."""
    parent, name = os.path.split(path)
    with Folder.open(parent or ".", disk) as folder:
        folder.write_atomic(name, data)


def read_bounded(path: str, limit: int) -> bytes:
    """`Folder.read_bounded` for a path whose folder is trusted."""
    parent, name = os.path.split(path)
    with Folder.open(parent or ".") as folder:
        return folder.read_bounded(name, limit)


def make_dir(path: str, mode: int = FOLDER_MODE, disk: Disk = DISK) -> None:
    """Make a folder and its missing parents, each with `mode` and durable; an existing one is left as it is."""
    if os.path.isdir(path):
        return
    parent, name = os.path.split(os.path.abspath(path))
    make_dir(parent, mode, disk)
    with Folder.open(parent, disk) as folder:
        folder.make_folder(name, mode).close()


def _check_name(name: str) -> None:
    if len(check_relative(name)) != 1:
        raise PathRefused(Reason.ABSOLUTE, name)


def _temporary_name() -> str:
    return f"{_PREFIX}{os.urandom(8).hex()}{_SUFFIX}"
