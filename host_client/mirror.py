"""The guest's state as this host knows it: the last `get_state`, and the events since, folded in. No I/O.

A mirror knows when it no longer knows: `stale` then holds the reason, and whoever owns it asks `get_state` and gives
the answer to `reset`. That is so after a hole in the events' numbers, after an event of an unknown task, and after an
event that says less than it changes (a new agent has other abilities than its predecessor).

Rules of this file:

* Events come in the guest's order. One that is numbered at or below the last one is late, and ignored.
* What an older incarnation says is ignored.
* No event ever raises, in any order; an event of an unknown kind changes nothing but the number.
"""

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from taskd.model.calls import OpenResult, QuestionView, Result, StateResult, StopResult, TaskView
from taskd.model.events import (
    AgentEnd,
    AgentQuestion,
    AgentQuestionClosed,
    DriverChanged,
    Event,
    ModelChanged,
    TaskBootstrapState,
    TaskError,
    TaskReady,
    TaskStopped,
    TaskSwitchStarted,
    TurnStarted,
)
from taskd.model.states import Bootstrap, TaskState

MAX_QUESTIONS: Final = 256
"""Open questions kept of one task; four times what the guest allows, so only a faulty guest reaches it."""


class Mirror:
    """What the guest's tasks look like now.

    Attributes:
        tasks: every task by its id; the views are the same structs that `get_state` gives.
        active_task_id: the task that prompts go to.
        switching_to: the task that a switch is under way to, if any.
        driver_held: whether somebody holds the driver lease; None until it was told.
        seq: the number of the last event that is folded in; None until one was known.
        stale: why `get_state` must be asked again; None while the mirror is true.
    """

    def __init__(self) -> None:
        self.tasks: dict[str, TaskView] = {}
        self.active_task_id: str | None = None
        self.switching_to: str | None = None
        self.driver_held: bool | None = None
        self.seq: int | None = None
        self.stale: str | None = "the guest's state was never asked for"

    def reset(self, state: StateResult) -> None:
        """Take the answer of `get_state`, in its place among the events."""
        self.tasks = {task.task_id: task for task in state.tasks}
        self.active_task_id = state.active_task_id
        self.switching_to = None
        self.seq = state.seq
        self.stale = None

    def doubt(self, reason: str) -> None:
        """Say that events may have been missed; the first reason is kept."""
        self.stale = self.stale or reason

    def fold(self, task_id: str | None, event: Event | None, *, seq: int | None = None, at: str = "") -> None:
        """Take one event; `event` is None when its kind is not known here."""
        if seq is not None and not self._count(seq):
            return
        apply = _APPLY.get(type(event))
        if apply is not None:
            apply(self, task_id, event, at)

    def learn(self, result: Result) -> None:
        """Take the answer to a change of our own, in its place among the events: the event that says the same follows.

        So whoever has awaited a call finds in the mirror what it did. Not so for a prompt, whose answer may be that of
        a turn that ended long ago.
        """
        if isinstance(result, StopResult):
            self._stopped(result.task_id, None, "")
        elif isinstance(result, OpenResult):
            self.doubt(f"task {result.task_id} was opened, and its answer does not say all of it")

    def task(self, task_id: str) -> TaskView | None:
        """Give one task's view, or None."""
        return self.tasks.get(task_id)

    def incarnation(self, task_id: str) -> int:
        """Give the newest incarnation known of a task, 0 for an unknown one."""
        view = self.tasks.get(task_id)
        return 0 if view is None else view.incarnation

    def _count(self, seq: int) -> bool:
        last = self.seq
        if last is not None and seq <= last:
            return False
        if last is not None and seq != last + 1:
            self.doubt(f"events {last + 1} to {seq - 1} were not heard")
        self.seq = seq
        return True

    def _known(self, task_id: str | None, incarnation: int | None = None) -> TaskView | None:
        """Give the view that an event is about, or None for what is unknown or older than what is known."""
        view = self.tasks.get(task_id or "")
        if view is None:
            self.doubt(f"an event of {task_id}, which is not known here")
            return None
        return None if incarnation is not None and incarnation < view.incarnation else view

    def _put(self, view: TaskView, **changes: Any) -> None:
        self.tasks[view.task_id] = replace(view, **changes)

    def _deselect(self) -> None:
        before = self.tasks.get(self.active_task_id or "")
        if before is not None:
            self._put(before, state=TaskState.IDLE)
        self.active_task_id = None

    def _quiet(self, view: TaskView, **changes: Any) -> None:
        """Change a task of which nothing runs any more."""
        if self.active_task_id == view.task_id:
            self.active_task_id = None
        if self.switching_to == view.task_id:
            self.switching_to = None
        self._put(view, prompt_in_flight=False, turn_id=None, questions=(), **changes)

    def _bootstrap(self, task_id: str | None, event: TaskBootstrapState, at: str) -> None:
        view = self._known(task_id, event.incarnation)
        if view is None:
            return
        changes = {
            "bootstrap_status": event.status,
            "bootstrap_error": event.error or None,
            "bootstrap_updated_at": at or view.bootstrap_updated_at,
            "incarnation": event.incarnation,
        }
        if event.status == Bootstrap.PENDING:
            self._quiet(view, state=TaskState.CREATING, **changes)
        elif event.status == Bootstrap.ERRORED:
            self._quiet(view, state=TaskState.ERRORED, last_error=event.error or None, **changes)
            self.doubt("a task that could not be opened may be gone")
        else:
            state = TaskState.READY if view.state == TaskState.CREATING else view.state
            self._put(view, state=state, last_error=None, **changes)
            self.doubt("a new agent's abilities and model are not in the event that tells of it")

    def _switch_started(self, task_id: str | None, _event: TaskSwitchStarted, _at: str) -> None:
        """The task that was active is idle from here on, as in the guest; the new one is active when it is ready."""
        self._known(task_id)
        self.switching_to = task_id
        if self.active_task_id != task_id:
            self._deselect()

    def _ready(self, task_id: str | None, event: TaskReady, _at: str) -> None:
        view = self._known(task_id, event.incarnation)
        if view is None and task_id in self.tasks:
            return
        if self.active_task_id != task_id:
            self._deselect()
        # Which task is active is told by this alone, also of one that nothing else is known of yet.
        self.active_task_id = task_id
        if self.switching_to == task_id:
            self.switching_to = None
        if view is not None:
            self._put(view, state=TaskState.ACTIVE, incarnation=event.incarnation)

    def _error(self, task_id: str | None, event: TaskError, _at: str) -> None:
        view = self._known(task_id, event.incarnation)
        if view is not None:
            self._quiet(view, state=TaskState.ERRORED, incarnation=event.incarnation, last_error=event.message)

    def _stopped(self, task_id: str | None, _event: TaskStopped | None, _at: str) -> None:
        view = self._known(task_id)
        if view is not None:
            self._quiet(view, state=TaskState.STOPPED)

    def _turn_started(self, task_id: str | None, event: TurnStarted, _at: str) -> None:
        view = self._known(task_id, event.incarnation)
        if view is not None:
            self._put(view, prompt_in_flight=True, turn_id=event.turn_id)

    def _turn_ended(self, task_id: str | None, event: AgentEnd, _at: str) -> None:
        view = self._known(task_id)
        if view is None:
            return
        questions = tuple(question for question in view.questions if question.turn_id != event.turn_id)
        changes = {"turn_count": event.turn_number, "usage": view.usage + event.usage, "questions": questions}
        if view.turn_id in (None, event.turn_id):
            changes |= {"prompt_in_flight": False, "turn_id": None}
        self._put(view, **changes)

    def _asked(self, task_id: str | None, event: AgentQuestion, at: str) -> None:
        view = self._known(task_id)
        if view is None:
            return
        question = QuestionView(
            request_id=event.request_id,
            task_id=view.task_id,
            turn_id=event.turn_id,
            kind=event.kind,
            title=event.title,
            message=event.message,
            options=event.options,
            asked_at=at,
            timeout_ms=event.timeout_ms,
        )
        others = tuple(one for one in view.questions if one.request_id != event.request_id)
        self._put(view, questions=(*others, question)[-MAX_QUESTIONS:])

    def _question_closed(self, task_id: str | None, event: AgentQuestionClosed, _at: str) -> None:
        view = self._known(task_id)
        if view is not None:
            self._put(view, questions=tuple(one for one in view.questions if one.request_id != event.request_id))

    def _model_changed(self, task_id: str | None, event: ModelChanged, _at: str) -> None:
        view = self._known(task_id)
        if view is not None:
            abilities = event.abilities or view.abilities
            self._put(view, provider=event.provider, model=event.model, abilities=abilities)

    def _driver_changed(self, _task_id: str | None, event: DriverChanged, _at: str) -> None:
        self.driver_held = event.held


_APPLY: Final[dict[type[Any], Callable[[Mirror, str | None, Any, str], None]]] = {
    TaskBootstrapState: Mirror._bootstrap,
    TaskSwitchStarted: Mirror._switch_started,
    TaskReady: Mirror._ready,
    TaskError: Mirror._error,
    TaskStopped: Mirror._stopped,
    TurnStarted: Mirror._turn_started,
    AgentEnd: Mirror._turn_ended,
    AgentQuestion: Mirror._asked,
    AgentQuestionClosed: Mirror._question_closed,
    ModelChanged: Mirror._model_changed,
    DriverChanged: Mirror._driver_changed,
}
"""The only place that knows which event changes what; all others change the number alone."""
