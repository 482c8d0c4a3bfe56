"""Reads files that hold secrets, and refuses those that others could have read or written.

For the env files of agents and the token file of TCP. The check is made on the open file, never on its path, so that
the file cannot be exchanged between the check and the read. Messages name the path and the rule, never the content.
"""

import errno
import os
import stat
from typing import Final

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""Without O_NONBLOCK the open of a FIFO would wait for a writer before we could see that it is no file."""


class PrivateFileError(Exception):
    """A file that may not be used. `path` is the file, `reason` what is wrong and what would help."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class PrivateFileMissingError(PrivateFileError):
    """There is no such file."""


def read_private_file(path: str, *, max_bytes: int, uid: int, group_may_read: bool = False) -> bytes:
    """Read a whole file that is private to `uid` or to root.

    Args:
        path: absolute path; its last part may not be a symbolic link.
        max_bytes: a longer file is refused.
        uid: who we are.
        group_may_read: allow mode 0440; systemd's credentials show an ACL for the service's user that way.

    Raises:
        PrivateFileMissingError: there is no such file.
        PrivateFileError: it is no regular file, is owned by somebody else, is open to others, or is too long.
    """
    fd = _open(path)
    try:
        _check(path, os.fstat(fd), uid, 0o037 if group_may_read else 0o077)
        return _read(path, fd, max_bytes)
    except OSError as error:
        raise PrivateFileError(path, f"cannot be read: {error.strerror}") from error
    finally:
        os.close(fd)


def _open(path: str) -> int:
    try:
        return os.open(path, _FLAGS)
    except FileNotFoundError as error:
        raise PrivateFileMissingError(path, "does not exist") from error
    except ValueError as error:
        raise PrivateFileError(path, "is no legal path") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PrivateFileError(path, "is a symbolic link; name the file itself") from error
        raise PrivateFileError(path, f"cannot be opened: {error.strerror}") from error


def _check(path: str, facts: os.stat_result, uid: int, forbidden: int) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise PrivateFileError(path, "is no regular file")
    if facts.st_uid not in (0, uid):
        raise PrivateFileError(path, f"belongs to uid {facts.st_uid}; it must belong to root or to uid {uid}")
    if facts.st_mode & forbidden:
        mode = stat.S_IMODE(facts.st_mode)
        raise PrivateFileError(path, f"has mode {mode:04o}, so others can use it; run: chmod 600 {path}")


def _read(path: str, fd: int, max_bytes: int) -> bytes:
    data = bytearray()
    while chunk := os.read(fd, max_bytes + 1 - len(data)):
        data += chunk
        if len(data) > max_bytes:
            raise PrivateFileError(path, f"is longer than {max_bytes} bytes")
    return bytes(data)
