"""The conversation as a host shows it: a cache for user interfaces, and nothing else.

    <cache>/<taskId>/task.json            the task as it was last seen
    <cache>/<taskId>/conversation.json    its completed turns

The truth is the guest's `session.json`. So a cache that is missing, torn, of another version or of another session is
thrown away and built again, and never an error; a disk that cannot be written costs the cache and not the answer.
What is cached is checked against the guest by the id of its last turn: a session that was put back to an earlier turn
and went on from there has another one.
"""

from os import PathLike, fspath
from pathlib import Path
from typing import Final, Protocol, TypeVar

import anyio.to_thread
import msgspec

from taskd.disk.atomic import make_dir, read_bounded, write_atomic
from taskd.disk.beneath import PathRefused
from taskd.model.agent import Usage
from taskd.model.calls import SessionResult, TaskView
from taskd.model.errors import TaskdError
from taskd.model.ids import check_task_id
from taskd.model.records import Turn

S = TypeVar("S", bound=msgspec.Struct)

CACHE_VERSION: Final = 1

MAX_CACHE_BYTES: Final = 256 << 20
"""A cache above this is not read: the guest keeps no longer session."""

TASK_FILE: Final = "task.json"
CONVERSATION_FILE: Final = "conversation.json"


class Conversation(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The completed turns of a task."""

    version: int = CACHE_VERSION
    task_id: str
    agent: str
    usage: Usage = Usage()
    saved_at: str | None = None
    turns: tuple[Turn, ...] = ()


class CachedTask(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A task as it was last seen, to be shown before a connection is there."""

    version: int = CACHE_VERSION
    task: TaskView


class Guest(Protocol):
    """The part of the client that the cache needs."""

    async def get_task(self, task_id: str) -> TaskView:
        """Give one task as it is now."""

    async def get_session(self, task_id: str, from_turn: int = 1) -> SessionResult:
        """Give the completed turns from that number on."""


class ConversationCache:
    """The cache of one host.

    Args:
        folder: where it is kept; None keeps nothing, and every conversation is asked for whole.
    """

    def __init__(self, folder: str | PathLike[str] | None) -> None:
        self._folder = None if folder is None else Path(fspath(folder))

    async def refresh(self, guest: Guest, task_id: str) -> Conversation:
        """Give the conversation as the guest has it now, asking only for what is new.

        Raises:
            HostError: the guest cannot be asked; `conversation` still gives what is cached.
        """
        cached = await anyio.to_thread.run_sync(self.conversation, task_id)
        task = await guest.get_task(task_id)
        fresh = await self._merge(guest, task_id, cached)
        if fresh != cached:
            await anyio.to_thread.run_sync(self._keep, task_id, CONVERSATION_FILE, fresh)
        await anyio.to_thread.run_sync(self._keep, task_id, TASK_FILE, CachedTask(task=task))
        return fresh

    def conversation(self, task_id: str) -> Conversation | None:
        """Give what is cached, or None; blocks, and never fails."""
        found = self._read(task_id, CONVERSATION_FILE, Conversation)
        return found if found is not None and _is_whole(found, task_id) else None

    def task(self, task_id: str) -> TaskView | None:
        """Give the task as it was last seen, or None; blocks, and never fails."""
        found = self._read(task_id, TASK_FILE, CachedTask)
        return found.task if found is not None and found.version == CACHE_VERSION else None

    def tasks(self) -> list[TaskView]:
        """Give all cached tasks, sorted by id; blocks, and never fails."""
        try:
            names = sorted(path.name for path in self._folder.iterdir()) if self._folder else []
        except OSError:
            names = []
        return [task for name in names if (task := self.task(name)) is not None]

    async def _merge(self, guest: Guest, task_id: str, cached: Conversation | None) -> Conversation:
        # One turn more than is missing: it shows whether what is cached is of the same session.
        last = cached.turns[-1] if cached is not None and cached.turns else None
        session = await guest.get_session(task_id, last.number if last else 1)
        turns = await anyio.to_thread.run_sync(_turns, session)
        if cached is not None and last is not None:
            if turns and turns[0].turn_id == last.turn_id:
                return _built(session, cached.turns[:-1] + turns)
            session = await guest.get_session(task_id, 1)
            turns = await anyio.to_thread.run_sync(_turns, session)
        return _built(session, turns)

    def _read(self, task_id: str, name: str, kind: type[S]) -> S | None:
        if self._folder is None:
            return None
        try:
            check_task_id(task_id)
            return msgspec.json.decode(read_bounded(str(self._folder / task_id / name), MAX_CACHE_BYTES), type=kind)
        except (OSError, PathRefused, TaskdError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def _keep(self, task_id: str, name: str, value: msgspec.Struct) -> None:
        if self._folder is None:
            return
        try:
            folder = str(self._folder / check_task_id(task_id))
            make_dir(folder)
            write_atomic(f"{folder}/{name}", msgspec.json.encode(value))
        except (OSError, PathRefused, TaskdError):
            return


def _turns(session: SessionResult) -> tuple[Turn, ...]:
    return tuple(msgspec.json.decode(raw, type=Turn) for raw in session.turns)


def _built(session: SessionResult, turns: tuple[Turn, ...]) -> Conversation:
    return Conversation(
        task_id=session.task_id, agent=session.agent, usage=session.usage, saved_at=session.saved_at, turns=turns
    )


def _is_whole(found: Conversation, task_id: str) -> bool:
    numbers = [turn.number for turn in found.turns]
    return found.version == CACHE_VERSION and found.task_id == task_id and numbers == list(range(1, len(numbers) + 1))
