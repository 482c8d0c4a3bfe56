"""What is kept on disk, in this house's own words. Fields are only ever added, with defaults.

`task.json` is a `TaskRecord`; `session.json` is an envelope (see `services/store.py`) around a `Session`.
Times are RFC 3339 strings in UTC.
"""

from typing import Any

import msgspec

from taskd.model.agent import Block, Usage

RECORD_VERSION = 1


class TaskRecord(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What a task is, apart from its conversation."""

    version: int = RECORD_VERSION
    task_id: str
    agent: str
    created_at: str
    provider: str | None = None
    model: str | None = None
    thinking_level: str | None = None
    working_folder: str | None = None
    """An absolute folder that the host asked for, or None for the task's own `work/`."""
    working_folder_relative: str | None = None
    """The same as a path below the workspace root."""


class Message(msgspec.Struct, frozen=True, rename="camel"):
    """One message of a turn."""

    role: str
    content: tuple[Block, ...]


class Turn(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One completed turn."""

    turn_id: str
    number: int
    """1 for the first turn of the session."""
    prompt_id: str | None
    started_at: str
    ended_at: str
    stop_reason: str
    error: str = ""
    usage: Usage = Usage()
    messages: tuple[Message, ...] = ()


class NativeMark(msgspec.Struct, frozen=True, rename="camel"):
    """How far the agent's own session file reached at the last completed turn.

    `copy` is a file in the task's folder of which the first `length` bytes have SHA-256 `sha256`; the native file
    is put back to exactly those bytes before every spawn.
    """

    copy: str
    length: int
    sha256: str


class Session(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The canonical truth of a task's conversation. `turns` stay encoded, so that saving does not decode them."""

    version: int = RECORD_VERSION
    task_id: str
    agent: str
    saved_at: str
    provider: str | None = None
    model: str | None = None
    thinking_level: str | None = None
    working_folder: str | None = None
    working_folder_relative: str | None = None
    turn_count: int = 0
    usage: Usage = Usage()
    native: NativeMark | None = None
    turns: list[msgspec.Raw] = []


class Dropped(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a resume had to leave behind; told in `task_bootstrap_state`."""

    native_bytes: int = 0
    """Bytes of the agent's file after the last completed turn (a turn that never ended, or a torn line)."""
    generation: str = ""
    """`previous` when session.json was unreadable and the generation before it was used."""
    reason: str = ""


class Opened(msgspec.Struct, frozen=True):
    """What the store made ready for a spawn. Paths are absolute."""

    task_dir: str
    cwd: str
    native_session: str
    turn_count: int = 0
    usage: Usage = Usage()
    dropped: Dropped | None = None


class Known(msgspec.Struct, frozen=True):
    """A task found on disk when the daemon started."""

    record: TaskRecord
    turn_count: int = 0
    usage: Usage = Usage()
    problem: str = ""


JsonObject = dict[str, Any]
