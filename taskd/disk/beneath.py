"""Opens below a root descriptor that cannot be led out of it.

A path is relative, of plain names only, and no component may be a link. Where the kernel has `openat2` (Linux 5.6, and
not forbidden by a sandbox) one call resolves it; elsewhere it is walked component by component, holding each folder by
its descriptor. Both ways refuse the same paths for the same reasons; one table tests both.

RACE: whoever may write below the root can swap a component for a link at any time. Neither way checks first and opens
later: `openat2` refuses a link while it resolves, the walk opens each component with O_NOFOLLOW from the descriptor of
the one before. A swap makes the open fail; it can never make it land elsewhere.
RACE: what was opened may be renamed afterwards, also to a place outside. The descriptor stays good, a path is only a
word: who turns it into a path again starts a new race and must say so.
"""

import ctypes
import errno
import os
import stat
from enum import StrEnum
from functools import cache
from typing import Final

MAX_PATH_BYTES: Final = 4095
"""Linux's PATH_MAX is 4096 with the closing NUL."""

_OPENAT2: Final = 437
"""The same number on every architecture that Python runs on but Alpha, where the probe fails and the walk is used."""
_RESOLVE: Final = 0x02 | 0x04 | 0x08
"""RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH."""
_TRIES: Final = 16
"""`openat2` answers EAGAIN when a rename anywhere disturbed it; after so many the caller is told."""
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY


class Reason(StrEnum):
    """Why a path was refused."""

    ABSOLUTE = "absolute"
    EMPTY = "empty_component"
    DOT = "dot_component"
    PARENT = "parent_component"
    NUL = "nul"
    ENCODING = "not_encodable"
    TOO_LONG = "too_long"
    LINK = "link"
    NOT_A_FOLDER = "not_a_folder"
    NOT_A_FILE = "not_a_regular_file"
    MISSING = "missing"
    DENIED = "denied"


_ERRNO: Final = {
    Reason.LINK: errno.ELOOP,
    Reason.NOT_A_FOLDER: errno.ENOTDIR,
    Reason.MISSING: errno.ENOENT,
    Reason.DENIED: errno.EACCES,
    Reason.TOO_LONG: errno.ENAMETOOLONG,
}
_REASONS: Final = {
    errno.ELOOP: Reason.LINK,
    errno.EXDEV: Reason.LINK,
    errno.ENOTDIR: Reason.NOT_A_FOLDER,
    errno.ENOENT: Reason.MISSING,
    errno.EACCES: Reason.DENIED,
    errno.EPERM: Reason.DENIED,
    errno.ENAMETOOLONG: Reason.TOO_LONG,
}


class PathRefused(OSError):
    """A path that may not be opened, with the reason as a `Reason`; an `OSError` for those who only need to fail."""

    def __init__(self, reason: Reason, path: str) -> None:
        super().__init__(_ERRNO.get(reason, errno.EINVAL), f"path refused ({reason})", path)
        self.reason = reason


def check_relative(relative: str) -> list[str]:
    """Return the components of a path that may be looked up beneath a root.

    Raises:
        PathRefused: absolute, empty, too long, with NUL, or with an empty, `.` or `..` component. A backslash is a
            letter like any other.
    """
    _check_text(relative)
    if relative.startswith("/"):
        raise PathRefused(Reason.ABSOLUTE, relative)
    parts = relative.split("/")
    for part in parts:
        reason = {"": Reason.EMPTY, ".": Reason.DOT, "..": Reason.PARENT}.get(part)
        if reason:
            raise PathRefused(reason, relative)
    return parts


def open_dir_beneath(root_fd: int, relative: str, flags: int = _DIRECTORY) -> int:
    """Open the folder at `relative` below `root_fd`; the caller closes the descriptor.

    Raises:
        PathRefused: for what `check_relative` refuses, a link, a non-folder, or nothing there.
        OSError: for anything else the kernel says.
    """
    return open_beneath(root_fd, relative, flags | os.O_DIRECTORY)


def open_beneath(root_fd: int, relative: str, flags: int) -> int:
    """Open what is at `relative` below `root_fd` with `flags` (none that create); raises as `open_dir_beneath`."""
    parts = check_relative(relative)
    resolve = _resolve if have_openat2() else _walk
    return resolve(root_fd, parts, flags | os.O_CLOEXEC)


@cache
def have_openat2() -> bool:
    """Say whether the kernel resolves for us. Sandboxes answer EPERM or ENOSYS for calls that they do not know."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(_openat2(root, b".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError:
        return False
    finally:
        os.close(root)
    return True


def _check_text(path: str) -> None:
    if "\0" in path:
        raise PathRefused(Reason.NUL, path.replace("\0", "\\0"))
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError:
        raise PathRefused(Reason.ENCODING, ascii(path)) from None
    if len(encoded) > MAX_PATH_BYTES:
        raise PathRefused(Reason.TOO_LONG, path[:64] + "...")


def _resolve(root_fd: int, parts: list[str], flags: int) -> int:
    path = "/".join(parts)
    for left in reversed(range(_TRIES)):
        try:
            return _openat2(root_fd, os.fsencode(path), flags)
        except OSError as fault:
            if fault.errno == errno.EAGAIN and left:
                continue
            raise _refusal(fault, path) from None
    raise AssertionError("the last try returns or raises")


def _walk(root_fd: int, parts: list[str], flags: int) -> int:
    path = "/".join(parts)
    here = root_fd
    try:
        for part in parts[:-1]:
            step = _step(here, part, path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            if here != root_fd:
                os.close(here)
            here = step
        return _step(here, parts[-1], path, flags)
    finally:
        if here != root_fd:
            os.close(here)


def _step(here: int, part: str, path: str, flags: int) -> int:
    try:
        fd = os.open(part, flags | os.O_NOFOLLOW, dir_fd=here)
    except OSError as fault:
        if fault.errno == errno.ENOTDIR and _is_link(here, part):
            raise PathRefused(Reason.LINK, path) from None
        raise _refusal(fault, path) from None
    if flags & os.O_PATH and not flags & os.O_DIRECTORY and stat.S_ISLNK(os.fstat(fd).st_mode):
        os.close(fd)
        raise PathRefused(Reason.LINK, path)
    return fd


def _is_link(here: int, part: str) -> bool:
    """Say whether a failed open met a link. RACE: only words the refusal, which stands whatever this finds."""
    try:
        return stat.S_ISLNK(os.stat(part, dir_fd=here, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _refusal(fault: OSError, path: str) -> OSError:
    reason = _REASONS.get(fault.errno or 0)
    return PathRefused(reason, path) if reason else OSError(fault.errno, fault.strerror, path)


class _OpenHow(ctypes.Structure):
    """`struct open_how` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _openat2(root_fd: int, path: bytes, flags: int) -> int:
    how = _OpenHow(flags, 0, _RESOLVE)
    arguments = (ctypes.c_long(root_fd), ctypes.c_char_p(path), ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how)))
    fd = int(_libc().syscall(ctypes.c_long(_OPENAT2), *arguments))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return fd
