"""Reading and choosing among a task's files: the record, and the two generations of the session.

Here is decided which generation counts, and what a file that cannot be used means: torn or patched ones make the
generation before it count; one of a newer daemon, or one above the bound, is good and stops everything. Nothing here
changes a file but `recover`, which puts the generation that counts in the first one's place, and `write_record`.

Rules: an unreadable session.json is kept aside before it is replaced; both unreadable are both kept.
"""

import errno
import os
from contextlib import suppress
from typing import Any, Final, NamedTuple

from taskd.disk.atomic import Folder, TooBig, read_chunks
from taskd.disk.beneath import PathRefused
from taskd.model.errors import Code, TaskdError
from taskd.model.records import Known, Session, TaskRecord
from taskd.services import session_file
from taskd.services.native_copy import Found, NativeCopies
from taskd.services.session_file import Newer, Stored, Unreadable

RECORD: Final = "task.json"
SESSION: Final = "session.json"
PREVIOUS: Final = "session.prev.json"
BAD: Final = "session.bad.json"
"""Where an unreadable session.json is kept when the generation before it takes its place; the last one only."""

RECORD_BYTES: Final = 64 << 10
"""A task.json is some 300 bytes; the paths in it are bounded by 4 KiB each."""


class Generation(NamedTuple):
    """The session that counts; None when no turn was ever completed."""

    stored: Stored | None
    reason: str = ""
    """Why it is not the one in session.json; empty if it is."""
    found: Found | None = None
    """Where its native bytes are, when that was asked for."""


def read_record(task: Folder, task_id: str) -> TaskRecord:
    """Read task.json; raises `Unreadable`, `Newer` or `OSError`."""
    return session_file.decode_record(task.read_bounded(RECORD, RECORD_BYTES), task_id)


def write_record(task: Folder, record: TaskRecord) -> None:
    """Write task.json durably unless it says the same already. An unreadable one is replaced, a newer one never."""
    try:
        same = read_record(task, record.task_id) == record
    except Newer as why:
        raise newer(record.task_id, RECORD, why.version) from None
    except (FileNotFoundError, Unreadable, PathRefused, TooBig):
        same = False
    if not same:
        task.write_atomic(RECORD, session_file.encode_record(record))


def current(task: Folder, task_id: str, limit: int, copies: NativeCopies | None = None) -> Generation:
    """Give the newest generation that can be used; with `copies`, one whose native bytes are still to be had.

    Raises:
        TaskdError: `SESSION_CORRUPT` when there are files and none can be used.
        OSError: the disk failed.
    """
    reasons: dict[str, str] = {}
    for name in (SESSION, PREVIOUS):
        try:
            stored = _read_session(task, name, task_id, limit)
        except FileNotFoundError:
            continue
        except Unreadable as why:
            reasons[name] = why.reason
            continue
        native = stored.session.native
        found = copies.find(task, task_id, native) if copies and native else None
        if copies and native and not found:
            reasons[name] = "native_lost"
            continue
        return Generation(stored, "" if name == SESSION else reasons.get(SESSION, "missing"), found)
    if reasons:
        raise corrupt(task_id, reasons)
    return Generation(None)


def read_previous(task: Folder, task_id: str, limit: int) -> Session | None:
    """Read the previous generation, None if there is none; raises `Unreadable`, `TaskdError` or `OSError`."""
    try:
        return _read_session(task, PREVIOUS, task_id, limit).session
    except FileNotFoundError:
        return None


def recover(task: Folder, task_id: str, limit: int, copies: NativeCopies | None = None) -> Generation:
    """Find the generation that counts and, when it is the previous one, durably put it in the first one's place.

    RACE: session.json gets a second name before it is replaced. A crash in between only means that all this is done
    again.
    """
    generation = current(task, task_id, limit, copies)
    if generation.stored and generation.reason:
        with suppress(FileNotFoundError):
            task.copy_name(SESSION, BAD)
        task.write_chunks(SESSION, session_file.encode_session(generation.stored))
    return generation


def look(task: Folder, task_id: str, limit: int) -> Known | None:
    """Describe a task's folder for a list, changing nothing; None when it was never a task's."""
    record, problem = None, ""
    try:
        record = read_record(task, task_id)
    except FileNotFoundError:
        pass
    except Newer as why:
        return Known(unknown_record(task_id), problem=newer(task_id, RECORD, why.version).message)
    except (Unreadable, OSError) as fault:
        problem = f"{RECORD}: {word(fault)}"
    try:
        session = _glance(task, task_id, limit)
        if session is None:
            stored = current(task, task_id, limit).stored
            session = stored.session if stored else None
    except TaskdError as fault:
        return Known(record or unknown_record(task_id), problem=fault.message)
    except OSError as fault:
        return Known(record or unknown_record(task_id), problem=f"{SESSION}: {word(fault)}")
    if session:
        return Known(record or session_file.record_of(session), session.turn_count, session.usage)
    if record is None and not problem:
        return None
    return Known(record or unknown_record(task_id), problem=problem)


def unknown_record(task_id: str) -> TaskRecord:
    """Stand in for a record that cannot be read."""
    return TaskRecord(task_id=task_id, agent="", created_at="")


def _read_session(task: Folder, name: str, task_id: str, limit: int) -> Stored:
    try:
        return session_file.decode_session(task.read_bounded(name, limit), task_id)
    except Newer as why:
        raise newer(task_id, name, why.version) from None
    except TooBig as why:
        raise _too_big(task_id, name, why.size, limit) from None
    except PathRefused as why:
        raise Unreadable(why.reason) from None


def _glance(task: Folder, task_id: str, limit: int) -> Session | None:
    """Look at a long session.json without reading it whole; None when it is short or does not look right."""
    try:
        with task.opened(SESSION) as fd:
            size = os.fstat(fd).st_size
            if not session_file.GLANCE_BYTES < size <= limit:
                return None
            tail = b"".join(read_chunks(fd, size - session_file.GLANCE_BYTES, size))
            return session_file.glance(os.pread(fd, 256, 0), tail, task_id)
    except (FileNotFoundError, PathRefused):
        return None


# What a host is told --------------------------------------------------------------------------------------------------


def word(fault: Exception) -> str:
    """Give the short name of a finding or a fault of the disk."""
    if isinstance(fault, Unreadable | PathRefused):
        return str(fault.reason)
    return _errno_name(fault) if isinstance(fault, OSError) else type(fault).__name__


def is_missing(fault: OSError) -> bool:
    """Say whether nothing was there."""
    return fault.errno == errno.ENOENT


def disk_error(code: Code, what: str, task_id: str, fault: OSError, **details: Any) -> TaskdError:
    """Tell a fault of the disk, with the errno's name in the details."""
    name = _errno_name(fault)
    hint = {"ENOSPC": "; free some space", "EDQUOT": "; free some space", "EROFS": "; the disk is read-only"}
    facts = {"taskId": task_id, "errno": name, **details}
    return TaskdError(code, f"{what}: {fault.strerror or name}{hint.get(name, '')}", details=facts)


def _errno_name(fault: OSError) -> str:
    return errno.errorcode.get(fault.errno or 0, type(fault).__name__)


def corrupt(task_id: str, reasons: dict[str, str]) -> TaskdError:
    """Tell that no generation can be used; `reasons` has a word for each file."""
    words = ", ".join(f"{name} is unusable ({reason})" for name, reason in reasons.items())
    message = f"the session of task {task_id} cannot be resumed: {words}; all files are kept as they are"
    return TaskdError(Code.SESSION_CORRUPT, message, details={"taskId": task_id, "reasons": reasons})


def newer(task_id: str, name: str, version: int) -> TaskdError:
    """Tell that a newer daemon wrote a file, which is therefore left alone."""
    return TaskdError(
        Code.SESSION_CORRUPT,
        f"{name} of task {task_id} was written by a newer taskd ({version=}); run that one again, nothing was changed",
        details={"taskId": task_id, "file": name, "reason": "newer", "version": version},
    )


def _too_big(task_id: str, name: str, size: int, limit: int) -> TaskdError:
    return TaskdError(
        Code.SESSION_CORRUPT,
        f"{name} of task {task_id} has {size} bytes; raise limits.session_bytes ({limit}) to open it",
        details={"taskId": task_id, "file": name, "reason": "too_big", "size": size, "limit": limit},
    )
