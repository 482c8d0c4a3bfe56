"""One switch of the active task, from the request to `task_ready`, as a state machine without I/O.

    asked ── acked ── started ── ready
      │        │         ├────── superseded   another task's switch started
      │        ├─────────┼────── failed       the task ended on the way
      └────────┴─────────┴────── timed_out, lost

Rules of this file:

* Events before the acknowledgement belong to an older switch and are ignored: the guest answers before it tells.
* What an older incarnation says is ignored, and so is everything after the end. A finished switch never changes.
* Time is a stimulus (`expire`); who calls it decides what the hard deadline is. No stimulus ever raises.
"""

from enum import StrEnum

import msgspec

from host_client.errors import (
    ConnectionLost,
    GuestError,
    HostError,
    SwitchFailed,
    SwitchSuperseded,
    SwitchTimeout,
)
from taskd.model.calls import StateResult
from taskd.model.errors import Code
from taskd.model.events import Event, TaskBootstrapState, TaskError, TaskReady, TaskStopped, TaskSwitchStarted
from taskd.model.states import TaskState


class Phase(StrEnum):
    """How far a switch has come; the last five are ends."""

    ASKED = "asked"
    ACKED = "acked"
    STARTED = "started"
    READY = "ready"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    TIMED_OUT = "timed_out"
    LOST = "lost"


OPEN = frozenset({Phase.ASKED, Phase.ACKED, Phase.STARTED})
"""The phases in which a switch can still change."""

_GONE = frozenset({TaskState.ERRORED, TaskState.STOPPED, TaskState.MISSING})


class Switched(msgspec.Struct, frozen=True, rename="camel"):
    """A switch that is done: the task is active and its agent can take a prompt."""

    task_id: str
    incarnation: int
    seconds: float = 0.0
    """From the call to `task_ready` as this client saw it."""


class Switch:
    """One attempt.

    Args:
        task_id: the task to be made active.
        timeout: the hard deadline in seconds, for the error's text.
        incarnation: the newest incarnation that is known; what older ones say is ignored.
    """

    def __init__(self, task_id: str, timeout: float, incarnation: int = 0) -> None:
        self.task_id = task_id
        self.phase = Phase.ASKED
        self.error: HostError | None = None
        self._timeout = timeout
        self._incarnation = incarnation

    @property
    def finished(self) -> bool:
        """Whether the switch has come to an end, a good one or a bad one."""
        return self.phase not in OPEN

    def outcome(self, seconds: float = 0.0) -> Switched:
        """Give what a finished switch came to.

        Raises:
            HostError: why it did not end in `ready`.
        """
        if self.error is not None:
            raise self.error
        return Switched(self.task_id, self._incarnation, seconds)

    def acknowledge(self) -> None:
        """Take the guest's answer `{status: "switching"}`."""
        if self.phase is Phase.ASKED:
            self.phase = Phase.ACKED

    def refuse(self, error: HostError) -> None:
        """Take the guest's refusal of the request."""
        if isinstance(error, GuestError) and error.code == Code.SWITCH_TIMEOUT:
            error = SwitchTimeout(self.task_id, self._timeout, by_guest=True)
        self._end(Phase.FAILED, error)

    def hear(self, task_id: str | None, event: Event) -> None:
        """Take an event of any task."""
        if self.phase not in (Phase.ACKED, Phase.STARTED):
            return
        if task_id != self.task_id:
            self._hear_other(task_id, event)
        elif isinstance(event, TaskSwitchStarted):
            self.phase = Phase.STARTED
        elif isinstance(event, TaskStopped):
            self._end(Phase.FAILED, SwitchFailed(Code.TASK_NOT_READY, "the task was stopped during the switch"))
        elif isinstance(event, TaskBootstrapState | TaskReady | TaskError):
            self._hear_incarnation(event)

    def see(self, state: StateResult) -> None:
        """Take the guest's state after a reconnect, when events may have been missed."""
        if self.phase not in (Phase.ACKED, Phase.STARTED):
            return
        view = next((task for task in state.tasks if task.task_id == self.task_id), None)
        if view is None or view.state in _GONE:
            reason = (view and view.last_error) or "the task ended during the switch"
            self._end(Phase.FAILED, SwitchFailed(Code.TASK_NOT_READY, reason, retryable=True))
            return
        self._incarnation = view.incarnation
        if state.active_task_id == self.task_id:
            self._end(Phase.READY)

    def expire(self) -> None:
        """Take the hard deadline."""
        self._end(Phase.TIMED_OUT, SwitchTimeout(self.task_id, self._timeout))

    def lose(self, error: ConnectionLost) -> None:
        """Take the end of the connection, when nobody will make a new one."""
        self._end(Phase.LOST, error)

    def _hear_other(self, task_id: str | None, event: Event) -> None:
        # Before our own start it is the late start of an older switch: the guest starts them in order.
        if self.phase is Phase.STARTED and isinstance(event, TaskSwitchStarted) and task_id is not None:
            self._end(Phase.SUPERSEDED, SwitchSuperseded(self.task_id, task_id))

    def _hear_incarnation(self, event: TaskBootstrapState | TaskReady | TaskError) -> None:
        if event.incarnation < self._incarnation:
            return
        self._incarnation = event.incarnation
        if isinstance(event, TaskReady):
            self._end(Phase.READY)
        elif isinstance(event, TaskError):
            self._end(Phase.FAILED, self._failure(event))

    def _failure(self, event: TaskError) -> HostError:
        if event.code == Code.SWITCH_TIMEOUT:
            return SwitchTimeout(self.task_id, self._timeout, by_guest=True)
        return SwitchFailed(event.code, event.message, retryable=event.retryable, details=event.details)

    def _end(self, phase: Phase, error: HostError | None = None) -> None:
        if self.phase in OPEN:
            self.phase, self.error = phase, error
