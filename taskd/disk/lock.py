"""One daemon for one state folder: an exclusive `flock` on `<state>/.taskd/lock`, held for the daemon's life.

The kernel drops the lock with its holder, however that one dies, so there is no stale lock and nothing to clean up.

RACE: the file is never removed. If it were, a second daemon could lock the old file while a third makes a new one.
RACE: the pid in the file is written after the lock was taken; in between a refused daemon may read the pid of an
earlier holder. It is only for the error message; nobody is signalled because of it.
ASSUMES: `flock` works across processes on the state folder's file system (ext4, xfs, btrfs, tmpfs, overlay and virtiofs
do; NFS and 9p depend on how they were mounted, and two guests on one 9p share may not see each other).
"""

import fcntl
import os
from types import TracebackType
from typing import Final, Self

from taskd.disk.atomic import Folder
from taskd.disk.syscalls import DISK, FOLDER_MODE
from taskd.model.errors import Code, TaskdError

OURS: Final = ".taskd"
"""The daemon's own folder in the state folder; no task id starts with a dot."""
_NAME: Final = "lock"
_WIDTH: Final = 20
"""The pid is padded to this many bytes, so that one write replaces the holder before it whole."""


class StateLock:
    """The held lock; `close` (or the end of the process) gives it up."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def take(cls, state_dir: str, pid: int) -> Self:
        """Lock the state folder, which must exist, for process `pid`; does not wait.

        Raises:
            TaskdError: `INTERNAL_ERROR` with `details: {reason: "locked", pid, path}` when another daemon holds it.
            OSError: the folder or file cannot be made; `PathRefused` when a link is in its place.
        """
        with Folder.open(state_dir) as state, state.make_folder(OURS, FOLDER_MODE) as ours:
            fd = ours.open_regular(_NAME, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            DISK.write(fd, b"%-*d\n" % (_WIDTH, pid), 0)
        except BlockingIOError:
            holder = _read_pid(fd)
            os.close(fd)
            raise _locked(os.path.join(state_dir, OURS, _NAME), holder) from None
        except BaseException:
            os.close(fd)
            raise
        return cls(fd)

    def close(self) -> None:
        """Give the lock up; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def _read_pid(fd: int) -> int | None:
    text = os.pread(fd, _WIDTH + 1, 0).strip()
    return int(text) if text.isdigit() else None


def _locked(path: str, holder: int | None) -> TaskdError:
    who = f"process {holder}" if holder else "another process"
    return TaskdError(
        Code.INTERNAL_ERROR,
        f"the state folder is in use by {who}; stop it first, or give this daemon another state folder",
        details={"reason": "locked", "pid": holder, "path": path},
        retryable=True,
    )
