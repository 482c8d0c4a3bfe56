"""Everything that can happen, in the past tense. Each is plain data; who made it waits for nothing."""

from typing import Any

import msgspec

from taskd.model.agent import Said
from taskd.model.calls import Params
from taskd.model.errors import TaskdError
from taskd.model.ids import CallId, ChannelId, TaskId
from taskd.model.records import Known, Opened


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where a call came from, and how to know it again.

    `key` is the request id within its scope, None for calls that cannot be repeated; `fingerprint` stands for the
    method and its params, key order aside. `newest_drives`: its hosts know no lease, so a newer channel of theirs takes
    the lease over from an older one.
    """

    call: CallId
    channel: ChannelId
    key: str | None = None
    fingerprint: str = ""
    stop_event_first: bool = False
    newest_drives: bool = False


class Stimulus(msgspec.Struct, frozen=True):
    """Base of all stimuli."""


class Asked(Stimulus, frozen=True):
    """A host asked for something that the machine decides."""

    origin: Origin
    params: Params


class ChannelClosed(Stimulus, frozen=True):
    """A host is gone."""

    channel: ChannelId


class Loaded(Stimulus, frozen=True):
    """The state folder was read."""

    known: tuple[Known, ...]


class Prepared(Stimulus, frozen=True):
    """Folders and native session are in order; the agent is being spawned."""

    task: TaskId
    incarnation: int
    opened: Opened


class OpenFailed(Stimulus, frozen=True):
    """The task could not be prepared, or its agent not be spawned."""

    task: TaskId
    incarnation: int
    error: TaskdError


class AgentSaid(Stimulus, frozen=True):
    """An agent said something."""

    task: TaskId
    incarnation: int
    said: Said


class ChildGone(Stimulus, frozen=True):
    """An agent's process has ended and its pipes are drained. Exactly one of `code` and `signal` is set."""

    task: TaskId
    incarnation: int
    code: int | None
    signal: int | None
    stderr_tail: str = ""


class Saved(Stimulus, frozen=True):
    """A turn is on disk, durable."""

    task: TaskId
    turn_id: str
    turn_count: int
    save_ms: float


class SaveFailed(Stimulus, frozen=True):
    """A turn could not be written."""

    task: TaskId
    turn_id: str
    error: TaskdError


class CallFinished(Stimulus, frozen=True):
    """A service has carried out a call: `result` or `error`."""

    call: CallId
    result: Any = None
    error: TaskdError | None = None


class TimerFired(Stimulus, frozen=True):
    """A timer that the machine had set ran out."""

    timer: "Timer"


class ShutdownAsked(Stimulus, frozen=True):
    """The process was told to stop (SIGTERM, SIGINT, or the end of the only channel)."""

    reason: str


class Timer(msgspec.Struct, frozen=True, gc=False):
    """A timer's name: setting it again moves it, clearing an unset one is nothing."""

    kind: str
    task: str = ""
    detail: str = ""
