"""The agent's own session file, and our copy of it up to the last completed turn.

The agent appends to `agent/session.jsonl` as it likes and without fsync, so that file alone proves nothing. After each
turn its new bytes are appended to `agent-copy/NNN.jsonl`, and a `NativeMark` (copy, length, SHA-256) goes into
session.json. Before each spawn the agent's file is put back to exactly the marked bytes. When the agent's file is no
longer an extension of the copy (it was compacted or rewritten) a copy with the next number is begun. This module must
not know sessions or turns.

Rules: marked bytes of a copy never change; a copy is durable before a mark on it is written; what lies behind the mark
is of no meaning. Native records end with 0x0A, and only whole ones are marked.
ASSUMES: no agent of the task runs while its file is put back (the supervisor's duty).
RACE: the agent may write while its file is copied. The size is taken once; what comes later belongs to the next turn.
A file that shrinks under the copy keeps its old mark.
RACE: the agent may rewrite marked bytes in place, unseen by the samples that are compared when nothing else hints at
it. The copy keeps the bytes as they were and the digest is over the copy: a resume then restores an older, whole file.
"""

import os
import re
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from taskd.disk.atomic import Folder, read_chunks, write_all
from taskd.disk.beneath import PathRefused
from taskd.model.records import NativeMark

if TYPE_CHECKING:
    from hashlib import _Hash

AGENT: Final = "agent"
NATIVE: Final = "session.jsonl"
COPIES: Final = "agent-copy"
SAMPLE_BYTES: Final = 4096
"""How much is compared at either end of the marked bytes to see that the agent's file was only appended to."""
_NUMBERED: Final = re.compile(r"(\d{3,9})\.jsonl\Z")


class Found(NamedTuple):
    """Where the marked bytes are to be had: in the agent's own file, or only in the copy."""

    in_place: bool
    native_size: int


class _Known(NamedTuple):
    """What makes the next copy cost only the new bytes: a digest to go on from, and the file it was taken of."""

    mark: NativeMark
    hasher: "_Hash"
    identity: tuple[int, int] | None
    """Device and inode of the agent's file; None when it was not the source."""
    proven: bool
    """Whether the copy's own bytes were seen to be the marked ones, not only the agent's."""


class NativeCopies:
    """The copies of all tasks. Remembers some 400 bytes for each task; everything is found again on disk."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def forget(self, task_id: str) -> None:
        """Drop what is remembered of a task, as after a failed write."""
        self._known.pop(task_id, None)

    def take(self, task: Folder, task_id: str, mark: NativeMark | None) -> NativeMark | None:
        """Copy what the agent has written since `mark`, durably, and give the new mark.

        Gives `mark` itself when there is nothing new, and when the agent's file is missing, is no regular file, or
        holds no whole record: the turn is worth saving all the same. Raises `OSError` for faults of the disk.
        """
        native = _open_native(task)
        if native is None:
            return mark
        try:
            with task.make_folder(COPIES) as copies:
                return self._take(copies, native, task_id, mark)
        except _ShrunkError:
            return mark
        finally:
            os.close(native)

    def find(self, task: Folder, task_id: str, mark: NativeMark) -> Found | None:
        """Look for the marked bytes in the agent's file, then in the copy; None when neither has them any more."""
        size = 0
        with suppress(FileNotFoundError, PathRefused), task.folder(AGENT) as agent, agent.opened(NATIVE) as native:
            stat = os.fstat(native)
            size = stat.st_size
            hasher = _digest_of(native, mark)
            # Cutting a file that has a second name would cut a file of somebody else.
            if hasher and stat.st_nlink == 1:
                self._known[task_id] = _Known(mark, hasher, (stat.st_dev, stat.st_ino), proven=False)
                return Found(True, size)
        with suppress(FileNotFoundError, PathRefused), task.folder(COPIES) as copies, _open_copy(copies, mark) as copy:
            hasher = _digest_of(copy, mark)
            if hasher:
                self._known[task_id] = _Known(mark, hasher, None, proven=True)
                return Found(False, size)
        return None

    def read(self, task: Folder, mark: NativeMark, found: Found, limit: int) -> bytes:
        """Give the first marked bytes, at most `limit`, from where they were found."""
        end = min(mark.length, limit)
        if found.in_place:
            with task.folder(AGENT) as agent, agent.opened(NATIVE) as native:
                return b"".join(read_chunks(native, 0, end))
        with task.folder(COPIES) as copies, _open_copy(copies, mark) as copy:
            return b"".join(read_chunks(copy, 0, end))

    def put_back(self, task: Folder, mark: NativeMark, found: Found) -> None:
        """Make the agent's file exactly the marked bytes. Not synced: what a crash undoes is put back again."""
        with task.folder(AGENT) as agent:
            if not found.in_place:
                with task.folder(COPIES) as copies, _open_copy(copies, mark) as copy:
                    agent.write_chunks(NATIVE, read_chunks(copy, 0, mark.length), durable=False)
            elif found.native_size > mark.length:
                with agent.opened(NATIVE, os.O_RDWR) as native:
                    task.disk.truncate(native, mark.length)

    def begin(self, task: Folder, task_id: str, old: NativeMark, data: bytes) -> NativeMark:
        """Start the copy after `old` with other bytes, durably; used when we have to change the agent's file."""
        with task.make_folder(COPIES) as copies:
            return self._begin(copies, task_id, old, (data,), len(data), None)

    def has_others(self, task: Folder, mark: NativeMark | None) -> bool:
        """Say whether there is any copy, or left-over of a crash, beside the one that `mark` is on."""
        with task.folder(COPIES) as copies:
            return bool(set(copies.names()) - {os.path.basename(mark.copy) if mark else ""})

    def sweep(self, task: Folder, keep: Iterable[NativeMark | None]) -> None:
        """Remove the copies that no kept mark is on."""
        names = {os.path.basename(mark.copy) for mark in keep if mark}
        with suppress(FileNotFoundError), task.folder(COPIES) as copies:
            copies.sweep()
            for name in copies.names():
                if _NUMBERED.match(name) and name not in names:
                    task.disk.unlink(name, dir_fd=copies.fd)

    def _take(self, copies: Folder, native: int, task_id: str, mark: NativeMark | None) -> NativeMark | None:
        stat = os.fstat(native)
        identity = (stat.st_dev, stat.st_ino)
        known = self._extended(copies, native, task_id, mark) if mark else None
        end = _whole_end(native, known.mark.length if known else 0, stat.st_size)
        if not known:
            if not end:
                return mark
            return self._begin(copies, task_id, mark, read_chunks(native, 0, end), end, identity)
        if end > known.mark.length:
            known = _append(copies, native, known, end)
        self._known[task_id] = known._replace(identity=identity)
        return known.mark

    def _extended(self, copies: Folder, native: int, task_id: str, mark: NativeMark) -> _Known | None:
        """Give what is needed to go on with the copy of `mark`, or None when a new copy has to be begun."""
        stat = os.fstat(native)
        known = self._known.get(task_id)
        if known and known.mark != mark:
            known = None
        try:
            with _open_copy(copies, mark) as copy:
                if os.fstat(copy).st_size < mark.length or stat.st_size < mark.length:
                    return None
                if not (known and known.proven) and _digest_of(copy, mark) is None:
                    return None
                same_file = known and known.identity == (stat.st_dev, stat.st_ino)
                if known and same_file and _samples_match(native, copy, mark.length):
                    return known._replace(proven=True)
        except (FileNotFoundError, PathRefused):
            return None
        hasher = _digest_of(native, mark)
        return _Known(mark, hasher, None, proven=True) if hasher else None

    def _begin(
        self,
        copies: Folder,
        task_id: str,
        old: NativeMark | None,
        chunks: Iterable[bytes],
        end: int,
        identity: tuple[int, int] | None,
    ) -> NativeMark:
        """Write the copy with the number after `old`. RACE: a crash before its mark was written left one: it goes."""
        match = _NUMBERED.search(old.copy) if old else None
        name = f"{int(match[1]) + 1 if match else 1:03d}.jsonl"
        with suppress(FileNotFoundError):
            copies.disk.unlink(name, dir_fd=copies.fd)
        try:
            hasher = _write_new(copies, name, chunks, end)
        except (OSError, _ShrunkError):
            with suppress(OSError):
                copies.disk.unlink(name, dir_fd=copies.fd)
            raise
        mark = NativeMark(copy=f"{COPIES}/{name}", length=end, sha256=hasher.hexdigest())
        self._known[task_id] = _Known(mark, hasher, identity, proven=True)
        return mark


class _ShrunkError(Exception):
    """The agent's file lost bytes while it was copied."""


def _write_new(copies: Folder, name: str, chunks: Iterable[bytes], end: int) -> "_Hash":
    """Write a new copy of `end` bytes, durable with its name. No mark is on it yet, so it needs no temporary name."""
    hasher, length = sha256(), 0
    with copies.opened(name, os.O_RDWR | os.O_CREAT | os.O_EXCL) as copy:
        for chunk in chunks:
            length = write_all(copy, chunk, length, copies.disk)
            hasher.update(chunk)
        if length != end:
            raise _ShrunkError
        copies.disk.sync(copy)
    copies.disk.sync(copies.fd)
    return hasher


def _append(copies: Folder, native: int, known: _Known, end: int) -> _Known:
    """Append the native bytes up to `end` to the copy. RACE: a crash leaves bytes behind the mark; they are cut."""
    disk, offset = copies.disk, known.mark.length
    hasher = known.hasher.copy()
    with _open_copy(copies, known.mark, os.O_RDWR) as copy:
        if os.fstat(copy).st_size > offset:
            disk.truncate(copy, offset)
        for chunk in read_chunks(native, offset, end):
            offset = write_all(copy, chunk, offset, disk)
            hasher.update(chunk)
        if offset != end:
            raise _ShrunkError
        disk.sync(copy)
    mark = NativeMark(copy=known.mark.copy, length=end, sha256=hasher.hexdigest())
    return known._replace(mark=mark, hasher=hasher)


def _open_native(task: Folder) -> int | None:
    try:
        with task.folder(AGENT) as agent:
            return agent.open_regular(NATIVE, os.O_RDONLY)
    except (FileNotFoundError, PathRefused):
        return None


def _open_copy(copies: Folder, mark: NativeMark, flags: int = os.O_RDONLY) -> AbstractContextManager[int]:
    return copies.opened(os.path.basename(mark.copy), flags)


def _digest_of(fd: int, mark: NativeMark) -> "_Hash | None":
    """Hash the first bytes; None when they are not the marked ones."""
    hasher = sha256()
    for chunk in read_chunks(fd, 0, mark.length):
        hasher.update(chunk)
    return hasher if hasher.hexdigest() == mark.sha256 else None


def _samples_match(native: int, copy: int, length: int) -> bool:
    starts = {0, max(0, length - SAMPLE_BYTES)}
    return all(_sample(native, start, length) == _sample(copy, start, length) for start in starts)


def _sample(fd: int, start: int, length: int) -> bytes:
    return os.pread(fd, min(SAMPLE_BYTES, length - start), start)


def _whole_end(fd: int, start: int, size: int) -> int:
    """Give the end of the last whole record in the bytes from `start` to `size`; `start` when there is none."""
    end = size
    while end > start:
        block = os.pread(fd, min(SAMPLE_BYTES, end - start), max(start, end - SAMPLE_BYTES))
        newline = block.rfind(b"\n")
        base = max(start, end - SAMPLE_BYTES)
        if newline >= 0:
            return base + newline + 1
        end = base
    return start
