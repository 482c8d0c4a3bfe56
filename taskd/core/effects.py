"""Everything that can be wanted, in the imperative. Performers carry effects out in the order of the list."""

from typing import Any

import msgspec

from taskd.core.stimuli import Timer
from taskd.model.agent import Command
from taskd.model.calls import Result, SystemBash
from taskd.model.errors import TaskdError
from taskd.model.events import Event
from taskd.model.ids import CallId, TaskId
from taskd.model.records import TaskRecord, Turn


class Effect(msgspec.Struct, frozen=True):
    """Base of all effects."""


class Reply(Effect, frozen=True):
    """Answer a call."""

    call: CallId
    result: Result


class Refuse(Effect, frozen=True):
    """Answer a call with an error."""

    call: CallId
    error: TaskdError


class Publish(Effect, frozen=True):
    """Tell every channel."""

    task: TaskId | None
    event: Event


class Open(Effect, frozen=True):
    """Make the task's folder ready and spawn its agent; ends in `Prepared` and then `AgentSaid`, or in `OpenFailed`."""

    task: TaskId
    incarnation: int
    record: TaskRecord


class Tell(Effect, frozen=True):
    """Say something to an agent."""

    task: TaskId
    incarnation: int
    command: Command


class StopChild(Effect, frozen=True):
    """Start the stop ladder of an agent's process; ends in `ChildGone`. Again is nothing."""

    task: TaskId
    incarnation: int


class Save(Effect, frozen=True):
    """Make a turn durable; ends in `Saved` or `SaveFailed`."""

    record: TaskRecord
    turn: Turn


class SaveRecord(Effect, frozen=True):
    """Write the task's record. A failure is logged: the session holds the same facts."""

    record: TaskRecord


class SetTimer(Effect, frozen=True):
    """Fire `TimerFired(timer)` after so many seconds."""

    timer: Timer
    seconds: float


class ClearTimer(Effect, frozen=True):
    """Forget a timer."""

    timer: Timer


class RunBash(Effect, frozen=True):
    """Run a host's shell command; ends in `CallFinished`. `base` is the folder that a relative cwd starts from."""

    call: CallId
    params: SystemBash
    base: str | None


class Log(Effect, frozen=True):
    """Write a log line."""

    level: str
    event: str
    fields: dict[str, Any]


class Quit(Effect, frozen=True):
    """All that can be in order is: leave."""
