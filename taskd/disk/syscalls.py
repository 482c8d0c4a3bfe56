"""The calls that change a disk or make a change durable, behind one object.

Everything in this room and the store goes through a `Disk`, so that a test can fail the n-th call, or cut the power
between any two of them, by passing in another one. Nothing here retries, names files or knows what is written.

Rules: writes carry their offset (there is no file position to race for); names are one component below a folder's
descriptor; every descriptor is close-on-exec.
"""

import os
from typing import Final

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700


class Disk:
    """The real disk. With `fsync` off nothing is durable, only atomic: for measuring what the fsyncs cost.

    All methods raise `OSError` as the kernel does.
    """

    def __init__(self, *, fsync: bool = True) -> None:
        self.fsync = fsync

    def open(self, name: str, flags: int, mode: int = FILE_MODE, *, dir_fd: int) -> int:
        """Open or create `name`; the caller closes the descriptor."""
        return os.open(name, flags | os.O_CLOEXEC, mode, dir_fd=dir_fd)

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Write some of `data` at `offset` bytes; returns how many bytes were taken, as `pwrite` does."""
        return os.pwrite(fd, data, offset)

    def truncate(self, fd: int, length: int) -> None:
        """Cut or extend the file to `length` bytes."""
        os.ftruncate(fd, length)

    def sync(self, fd: int) -> None:
        """Make a file's bytes, or a folder's names, durable."""
        if self.fsync:
            os.fsync(fd)

    def rename(self, old: str, new: str, *, dir_fd: int) -> None:
        """Rename within one folder; what was at `new` is gone."""
        os.rename(old, new, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)

    def link(self, old: str, new: str, *, dir_fd: int) -> None:
        """Give a file a second name in the same folder; a link is linked itself, not what it points to."""
        os.link(old, new, src_dir_fd=dir_fd, dst_dir_fd=dir_fd, follow_symlinks=False)

    def unlink(self, name: str, *, dir_fd: int) -> None:
        """Remove a name of a file."""
        os.unlink(name, dir_fd=dir_fd)

    def mkdir(self, name: str, mode: int, *, dir_fd: int) -> None:
        """Make a folder; the process's umask applies."""
        os.mkdir(name, mode, dir_fd=dir_fd)


DISK: Final = Disk()
"""The disk for those who need no other."""
