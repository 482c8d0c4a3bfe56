"""What the machine knows: every task, the active one, who drives. Plain state; the handlers beside it change it.

Invariants (checked after every step in tests, see `check`):
- at most one task is active, and it is `World.active`;
- a task that is ready, active or idle has a live incarnation;
- a turn belongs to a live or a stopping incarnation;
- a stopping task is never the active one.
"""

from collections.abc import Callable, Iterable
from typing import Any

from msgspec.structs import replace

from taskd.core.effects import Effect, Log, Refuse
from taskd.core.lifecycle import IGNORED, LIFECYCLE, Trigger, allowed
from taskd.core.stimuli import ChildGone, Origin, Timer
from taskd.model.agent import Abilities, Asked, Model, Usage
from taskd.model.calls import PromptResult
from taskd.model.errors import Code, TaskdError
from taskd.model.ids import CallId, ChannelId, TaskId, TurnId, check_task_id
from taskd.model.limits import Limits
from taskd.model.records import Dropped, Message, TaskRecord
from taskd.model.states import Bootstrap, OpenMode, TaskState

REMEMBERED_PROMPTS = 64
"""Prompt ids of a task that are known again; a host retries its last one, seldom an older one."""


class OpenTurn:
    """A turn under way."""

    __slots__ = (
        "aborting",
        "bytes_kept",
        "ended",
        "messages",
        "number",
        "prompt_id",
        "saving",
        "started_at",
        "tag",
        "turn_id",
        "usage",
    )

    def __init__(self, turn_id: TurnId, prompt_id: str, tag: int, number: int, started_at: str) -> None:
        self.turn_id = turn_id
        self.prompt_id = prompt_id
        self.tag = tag
        self.number = number
        self.started_at = started_at
        self.messages: list[Message] = []
        self.bytes_kept = 0
        self.usage = Usage()
        self.aborting = False
        self.saving = False
        self.ended: tuple[str, str] = ("", "")
        """Stop reason and error, once the turn is over and being saved."""


class OpenQuestion:
    """A question that an agent waits on."""

    __slots__ = ("asked", "asked_at", "turn_id")

    def __init__(self, asked: Asked, asked_at: str, turn_id: TurnId | None) -> None:
        self.asked = asked
        self.asked_at = asked_at
        self.turn_id = turn_id


class Task:
    """One task, as the machine sees it. `state` changes only through `World.move`."""

    __slots__ = (
        "abilities",
        "bootstrap",
        "bootstrap_at",
        "bootstrap_error",
        "commands",
        "cwd",
        "died",
        "dropped",
        "heard_at",
        "id",
        "incarnation",
        "last_error",
        "live",
        "mode",
        "noises",
        "opener",
        "prompts",
        "questions",
        "record",
        "record_before",
        "running",
        "state",
        "stop_calls",
        "stop_reason",
        "stopping",
        "turn",
        "turn_count",
        "usage",
    )

    def __init__(self, record: TaskRecord) -> None:
        self.id = TaskId(record.task_id)
        self.record = record
        self.record_before = record
        """What it was when the last open began; a folder that is refused is not kept."""
        self.state = TaskState.MISSING
        self.incarnation = 0
        self.live = False
        """What the incarnation says is heard. False from the moment it is given up."""
        self.running = False
        """A process may exist. Two must never share a native session."""
        self.heard_at = 0.0
        self.opener: Origin | None = None
        self.mode = OpenMode.CREATED
        self.noises = 0
        """Unreadable pieces of the incarnation."""
        self.cwd: str | None = None
        self.dropped: Dropped | None = None
        self.abilities: Abilities | None = None
        self.bootstrap = Bootstrap.NOT_STARTED
        self.bootstrap_error: str | None = None
        self.bootstrap_at: str | None = None
        self.turn: OpenTurn | None = None
        self.turn_count = 0
        self.usage = Usage()
        self.questions: dict[str, OpenQuestion] = {}
        self.commands: dict[int, Command] = {}
        self.prompts: dict[str, tuple[str, PromptResult]] = {}
        self.stopping = False
        self.stop_reason = "requested"
        self.stop_calls: list[Origin] = []
        self.died: ChildGone | None = None
        """The process ended while its last turn was still being saved."""
        self.last_error: str | None = None


class Command:
    """A command to an agent that a call waits for."""

    __slots__ = ("call", "kind", "turn_id")

    def __init__(self, kind: str, call: CallId | None, turn_id: TurnId | None = None) -> None:
        self.kind = kind
        self.call = call
        self.turn_id = turn_id


class World:
    """All that is known. `mono` (seconds) and `wall` (RFC 3339) are the moment of the current step."""

    def __init__(
        self,
        *,
        limits: Limits,
        mint: Callable[[str], str],
        agents: Iterable[str],
        default_agent: str,
        state_dir: str,
    ) -> None:
        self.limits = limits
        self.mint = mint
        self.agents = frozenset(agents)
        self.default_agent = default_agent
        self.state_dir = state_dir
        self.tasks: dict[TaskId, Task] = {}
        self.active: TaskId | None = None
        self.switching: TaskId | None = None
        self.driver: ChannelId | None = None
        self.driver_yields = False
        """The driver's hosts know no lease: a newer channel of theirs takes it over."""
        self.quitting: str | None = None
        self.mono = 0.0
        self.wall = ""
        self._tag = 0

    def tag(self) -> int:
        """Give a number for a command that wants an answer."""
        self._tag += 1
        return self._tag

    def find(self, task_id: object) -> Task:
        """Give the task of that id.

        Raises:
            TaskdError: `INVALID_PARAMS` or `TASK_NOT_FOUND`.
        """
        task = self.tasks.get(check_task_id(task_id))
        if task is None or task.state is TaskState.MISSING:
            raise not_found(str(task_id))
        return task

    def target(self, task_id: str | None) -> Task:
        """Give the named task, or else the active one.

        Raises:
            TaskdError: `TASK_NOT_READY` when none is active.
        """
        if task_id is not None:
            return self.find(task_id)
        if self.active is None:
            raise TaskdError(Code.TASK_NOT_READY, "no task is active; switch_task to one first")
        return self.tasks[self.active]

    def permit(self, task: Task, trigger: Trigger) -> None:
        """Let a call through, if the task's state takes it.

        Raises:
            TaskdError: the table's code.
        """
        entry = LIFECYCLE[task.state, trigger]
        if isinstance(entry, Code):
            raise not_ready(task, trigger.value) if entry is Code.TASK_NOT_READY else not_found(task.id)
        if task.stopping and trigger is not Trigger.STOP:
            raise TaskdError(
                Code.TASK_NOT_READY,
                f"task {task.id} is being stopped; try again when it is",
                details={"taskId": task.id},
            )

    def move(self, task: Task, trigger: Trigger) -> bool:
        """Change the task's state by the table. False when the trigger means nothing there."""
        entry = LIFECYCLE[task.state, trigger]
        if entry is IGNORED or not isinstance(entry, TaskState):
            return False
        task.state = entry
        return True

    def deselect(self) -> None:
        """No task is active from here on."""
        if self.active is not None:
            self.move(self.tasks[self.active], Trigger.DESELECTED)
            self.active = None

    def note_model(self, task: Task, model: Model) -> None:
        """Remember the model that a task's agent uses."""
        task.record = replace(task.record, provider=model.provider, model=model.id)

    def check(self) -> None:
        """Assert the invariants of this file's head."""
        active = [task.id for task in self.tasks.values() if task.state is TaskState.ACTIVE]
        assert active == ([self.active] if self.active else []), (active, self.active)
        for task in self.tasks.values():
            if task.state in (TaskState.READY, TaskState.ACTIVE, TaskState.IDLE):
                assert task.live or task.stopping or task.died, task.id
                assert task.running or task.stopping or task.died, task.id
            if task.turn is not None:
                assert task.live or task.stopping or task.turn.saving, task.id
            assert not (task.stopping and task.id == self.active), task.id
            assert self.switching is None or self.switching in self.tasks


def not_found(task_id: str) -> TaskdError:
    """The error for a task that is unknown here."""
    return TaskdError(
        Code.TASK_NOT_FOUND,
        f"no task {task_id!r} here; create it with create_or_open_task",
        details={"taskId": task_id},
    )


def not_ready(task: Task, wanted: str) -> TaskdError:
    """The error for a call that the task's state does not take."""
    return TaskdError(
        Code.TASK_NOT_READY,
        f"{wanted} is not possible while task {task.id} is {task.state}",
        details={"taskId": task.id, "state": task.state.value, "allowed": allowed(task.state)},
    )


def refuse(origin: Origin, error: TaskdError) -> list[Effect]:
    """Refuse a call."""
    return [Refuse(origin.call, error)]


def log(level: str, event: str, **fields: Any) -> Log:
    """A log line as an effect."""
    return Log(level, event, fields)


def timer(kind: str, task: Task, detail: str = "") -> Timer:
    """A timer of one task."""
    return Timer(kind, task.id, detail)
