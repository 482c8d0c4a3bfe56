"""Tasks and sessions on disk. Truth is here before it is told.

`<state>/<taskId>/` holds `task.json` (the record), `session.json` and `session.prev.json` (the conversation of
completed turns, two generations), `agent/session.jsonl` (the agent's own file), `agent-copy/` (ours of it), `work/`,
`outputs/`, `uploads/`. `spec/durability.md` says what each file guarantees and why.

All methods block; call them from worker threads. One call for each task at a time; different tasks may run at once. The
store decides nothing about a task's life and reads no clock: times and ids come from the caller.

Rules: nothing that cannot be read is overwritten or deleted; links in the places of our files are refused, never
followed, since the agent may write in its own folder; memory does not grow with the length of a session.
RACE: a crash between any two calls of the disk leaves turn N or N-1; the tests cut at each of them.
"""

import os
from contextlib import suppress
from types import TracebackType
from typing import Final, NamedTuple, Self

from taskd.agents.base import AgentProtocol, Opening
from taskd.disk.atomic import Folder, Identity, make_dir
from taskd.disk.beneath import PathRefused
from taskd.disk.syscalls import Disk
from taskd.model.agent import Usage
from taskd.model.errors import Code, TaskdError
from taskd.model.ids import check_task_id
from taskd.model.limits import Limits
from taskd.model.records import Dropped, Known, Opened, Session, TaskRecord, Turn
from taskd.services import native_start, session_file, task_files
from taskd.services.native_copy import AGENT, COPIES, NATIVE, NativeCopies
from taskd.services.native_start import Start
from taskd.services.session_file import Stored, Unreadable
from taskd.services.task_files import PREVIOUS, RECORD, SESSION, Generation, disk_error

_FOLDERS: Final = {AGENT: 0o700, COPIES: 0o700, "work": 0o755, "outputs": 0o755, "uploads": 0o755}


class TaskPaths(NamedTuple):
    """Where a task's files are, absolute."""

    task_dir: str
    record_file: str
    session_file: str
    native_session: str
    work_dir: str
    outputs_dir: str
    uploads_dir: str


class _Written(NamedTuple):
    """The session.json that was written last, without its turns; some 600 bytes for each task."""

    identity: Identity
    stored: Stored


class Store:
    """The state folder. Close it, or use it as a context.

    Args:
        state_dir: made with mode 0700 if it is missing.
        limits: `session_bytes` bounds what is read into memory.
        fsync: off only for measuring what durability costs.
        disk: another disk, for tests that fail or stop at the n-th call.
    """

    def __init__(self, state_dir: str, limits: Limits, *, fsync: bool = True, disk: Disk | None = None) -> None:
        self._disk = disk or Disk(fsync=fsync)
        self._dir = os.path.abspath(state_dir)
        self._limit = limits.session_bytes
        make_dir(self._dir, disk=self._disk)
        self._root = Folder.open(self._dir, self._disk)
        self._copies = NativeCopies()
        self._written: dict[str, _Written] = {}
        self._unsure: set[str] = set()
        """Tasks whose last save failed: what can be read in session.json may not be durable."""

    def close(self) -> None:
        """Close the state folder."""
        self._root.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def paths(self, task_id: str) -> TaskPaths:
        """Say where a task's files are, whether they exist or not."""
        task = os.path.join(self._dir, check_task_id(task_id))
        names = (RECORD, SESSION, os.path.join(AGENT, NATIVE), "work", "outputs", "uploads")
        return TaskPaths(task, *(os.path.join(task, name) for name in names))

    def load(self) -> list[Known]:
        """Give every task on disk, by name. Reads only, repairs nothing, raises only if the state folder is unreadable.

        A task that cannot be opened has a `problem`; what is no task of ours is left out. Long sessions are looked at,
        not verified: that is done when the task is opened.
        """
        found = (self._look(name) for name in self._root.names())
        return [known for known in found if known]

    def prepare(self, record: TaskRecord, protocol: AgentProtocol, cwd: str, now: str, session_id: str) -> Opened:
        """Make a task ready for a spawn: folders, `task.json`, and the agent's file at exactly the last completed turn.

        `cwd` is absolute and exists or is the task's `work/`; `now` is RFC 3339 and `session_id` the agent's id for a
        new conversation. No agent of this task may be running.

        Raises:
            TaskdError: `SESSION_CORRUPT` when no generation can be used (all files are kept), or a newer daemon wrote
                it; `WORKSPACE_POLICY_VIOLATION` when a link is in the place of a folder of ours;
                `TASK_BOOTSTRAP_FAILED` with the errno's name for other faults of the disk.
        """
        start = self._start(record, protocol, cwd, now, session_id)
        try:
            with self._make(record.task_id) as task:
                generation = task_files.recover(task, record.task_id, self._limit, self._copies)
                task_files.write_record(task, record)
                put = native_start.put_back(task, self._copies, generation, start)
                self._sweep_copies(task, record.task_id, put.session)
        except PathRefused as refused:
            raise _in_our_place(record.task_id, refused) from refused
        except OSError as fault:
            self._copies.forget(record.task_id)
            what = "the task's files cannot be prepared"
            raise disk_error(Code.TASK_BOOTSTRAP_FAILED, what, record.task_id, fault) from fault
        count, usage = (put.session.turn_count, put.session.usage) if put.session else (0, Usage())
        dropped = _dropped(generation, put.lost)
        return Opened(self.paths(record.task_id).task_dir, cwd, start.opening.native_session, count, usage, dropped)

    def save_turn(self, record: TaskRecord, turn: Turn) -> int:
        """Make a completed turn durable and return the number of turns, which is the number that it gets.

        A turn that is saved already (by its id) is not saved again, unless its number says that it is the next one.
        Costs a copy of what the agent wrote in the turn, and one write of session.json.

        Raises:
            TaskdError: `SESSION_SAVE_FAILED` with the errno's name; the session on disk is the one before the turn or,
                if only the last fsync failed, with it. `SESSION_CORRUPT` as for `prepare`.
        """
        try:
            with self._root.folder(check_task_id(record.task_id)) as task:
                return self._save(task, record, turn)
        except Unreadable as why:
            raise task_files.corrupt(record.task_id, {SESSION: why.reason}) from None
        except OSError as fault:
            self._unsure.add(record.task_id)
            self._copies.forget(record.task_id)
            what = "the turn could not be saved"
            error = disk_error(Code.SESSION_SAVE_FAILED, what, record.task_id, fault, turnId=turn.turn_id)
            raise error from fault

    def update_record(self, record: TaskRecord) -> None:
        """Write a changed record durably.

        Raises:
            TaskdError: `SESSION_SAVE_FAILED` with the errno's name; the record on disk is the one before.
        """
        try:
            with self._root.folder(check_task_id(record.task_id)) as task:
                task_files.write_record(task, record)
        except OSError as fault:
            what = f"{RECORD} could not be saved"
            raise disk_error(Code.SESSION_SAVE_FAILED, what, record.task_id, fault) from fault

    def read_session(self, task_id: str, from_turn: int = 1) -> Session:
        """Give a task's session with the turns from number `from_turn` on; changes nothing on disk.

        Raises:
            TaskdError: `TASK_NOT_FOUND` when there is no such task on disk; `SESSION_CORRUPT` as for `prepare`.
        """
        try:
            with self._root.folder(check_task_id(task_id)) as task:
                stored = task_files.current(task, task_id, self._limit).stored
                if stored is None:
                    return session_file.empty_session(task_files.read_record(task, task_id))
                return session_file.turns_from(stored, from_turn)
        except Unreadable as why:
            raise task_files.corrupt(task_id, {RECORD: why.reason}) from None
        except OSError as fault:
            if task_files.is_missing(fault):
                raise TaskdError(Code.TASK_NOT_FOUND, "no such task on disk", details={"taskId": task_id}) from None
            raise disk_error(Code.INTERNAL_ERROR, "the session cannot be read", task_id, fault) from fault

    def _look(self, name: str) -> Known | None:
        try:
            task_id = check_task_id(name)
            task = self._root.folder(task_id)
        except (TaskdError, PathRefused):
            return None
        except OSError as fault:
            return Known(task_files.unknown_record(name), problem=task_files.word(fault))
        with task:
            return task_files.look(task, task_id, self._limit)

    def _start(self, record: TaskRecord, protocol: AgentProtocol, cwd: str, now: str, session_id: str) -> Start:
        opening = Opening(
            task_id=record.task_id,
            cwd=cwd,
            native_session=self.paths(record.task_id).native_session,
            provider=record.provider,
            model=record.model,
            thinking_level=record.thinking_level,
        )
        return Start(protocol, opening, protocol.seed(opening, session_id, now), self._limit)

    def _make(self, task_id: str) -> Folder:
        """Make a task's folders and remove what crashes left in those that we write in."""
        task = self._root.make_folder(check_task_id(task_id))
        try:
            task.sweep()
            for name, mode in _FOLDERS.items():
                with task.make_folder(name, mode) as folder:
                    if name == AGENT:
                        folder.sweep()
        except BaseException:
            task.close()
            raise
        return task

    def _save(self, task: Folder, record: TaskRecord, turn: Turn) -> int:
        old = self._read_for_save(task, record)
        # A turn that is the next one by its number cannot be there: looking for it would cost a look at all of them.
        if turn.number != old.session.turn_count + 1 and session_file.has_turn(old, turn.turn_id):
            if record.task_id in self._unsure:
                task.write_chunks(SESSION, session_file.encode_session(old))
                self._unsure.discard(record.task_id)
            return old.session.turn_count
        old_mark = old.session.native
        mark = self._copies.take(task, record.task_id, old_mark)
        new = session_file.fit(session_file.with_turn(old, turn, record, mark), self._limit)
        identity = task.write_with_previous(SESSION, PREVIOUS, *session_file.encode_session(new))
        self._written[record.task_id] = _Written(identity, new._replace(turns=b"", added=b""))
        self._unsure.discard(record.task_id)
        if old_mark and mark and mark.copy != old_mark.copy:
            with suppress(OSError):
                self._copies.sweep(task, (mark, old_mark))
        return new.session.turn_count

    def _read_for_save(self, task: Folder, record: TaskRecord) -> Stored:
        """Read the session; one that is still as we wrote it need not be verified again."""
        written = self._written.pop(record.task_id, None)
        data = task.read_unchanged(SESSION, written.identity) if written else None
        stored = session_file.decode_unchanged(data, written.stored) if written and data else None
        stored = stored or task_files.recover(task, record.task_id, self._limit).stored
        return stored or Stored(session_file.empty_session(record))

    def _sweep_copies(self, task: Folder, task_id: str, session: Session | None) -> None:
        """Remove the copies that neither generation needs. When the previous one is unreadable, all are kept."""
        mark = session.native if session else None
        if not self._copies.has_others(task, mark):
            return
        with suppress(Unreadable, TaskdError):
            previous = task_files.read_previous(task, task_id, self._limit)
            self._copies.sweep(task, (mark, previous.native if previous else None))


def _dropped(generation: Generation, lost: int) -> Dropped | None:
    if not generation.reason and not lost:
        return None
    return Dropped(lost, "previous" if generation.reason else "", generation.reason)


def _in_our_place(task_id: str, refused: PathRefused) -> TaskdError:
    return TaskdError(
        Code.WORKSPACE_POLICY_VIOLATION,
        f"something else is in the place of a file of task {task_id}: {refused.filename} ({refused.reason})",
        details={"taskId": task_id, "field": str(refused.filename), "reason": str(refused.reason)},
    )
