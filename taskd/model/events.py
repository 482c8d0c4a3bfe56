"""What the daemon tells by itself: one struct for each event, named after it.

On the wire an event carries `seq`, `at` and `taskId` beside its own fields (JSON-RPC: all in `params`; P0: its own
fields in `payload`). Hosts ignore events and fields that they do not know.
"""

from typing import Any, ClassVar

import msgspec

from taskd.model.agent import Abilities, Usage
from taskd.model.records import Dropped


class Event(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Base of all events. `name` is the event's name on the wire."""

    name: ClassVar[str] = ""


class TaskBootstrapState(Event, frozen=True, omit_defaults=True):
    """How far the start of a task's agent has come: pending, ready or errored."""

    name: ClassVar[str] = "task_bootstrap_state"
    status: str
    error: str = ""
    incarnation: int = 0
    mode: str = ""
    dropped: Dropped | None = None
    """What a resume left behind, if anything."""


class TaskSwitchStarted(Event, frozen=True):
    """A switch to this task is under way; a later one of another task supersedes it."""

    name: ClassVar[str] = "task_switch_started"


class TaskReady(Event, frozen=True):
    """The switch is done: this task is active and its agent can take a prompt."""

    name: ClassVar[str] = "task_ready"
    incarnation: int


class TaskError(Event, frozen=True):
    """The incarnation is over: nothing of it is published after this. The task is errored and can be recovered."""

    name: ClassVar[str] = "task_error"
    code: str
    message: str
    retryable: bool
    incarnation: int
    turn_id: str | None = None
    details: dict[str, Any] = {}


class TaskStopped(Event, frozen=True):
    """The task's agent is gone; the session is on disk. `reason` is requested or shutdown."""

    name: ClassVar[str] = "task_stopped"
    reason: str = "requested"


class TurnStarted(Event, frozen=True):
    """A prompt was handed to the agent."""

    name: ClassVar[str] = "turn_started"
    turn_id: str
    prompt_id: str
    incarnation: int


class AgentOutput(Event, frozen=True, omit_defaults=True):
    """More of the answer. `kind` is text (left out) or thinking."""

    name: ClassVar[str] = "agent_output"
    chunk: str
    kind: str = "text"


class ToolStarted(Event, frozen=True):
    """The agent began a tool call."""

    name: ClassVar[str] = "tool_started"
    turn_id: str
    tool_call_id: str
    tool: str
    args: msgspec.Raw


class ToolOutput(Event, frozen=True, omit_defaults=True):
    """More output of a tool call; with `reset`, instead of what was said before."""

    name: ClassVar[str] = "tool_output"
    turn_id: str
    tool_call_id: str
    chunk: str
    reset: bool = False


class ToolEnded(Event, frozen=True):
    """A tool call is over."""

    name: ClassVar[str] = "tool_ended"
    turn_id: str
    tool_call_id: str
    tool: str
    is_error: bool
    duration_ms: int | None = None


class UsageReported(Event, frozen=True):
    """What one model call cost, and the turn so far."""

    name: ClassVar[str] = "usage"
    turn_id: str
    usage: Usage
    turn_usage: Usage


class AgentEnd(Event, frozen=True):
    """The turn is over and on disk."""

    name: ClassVar[str] = "agent_end"
    turn_id: str
    prompt_id: str
    turn_number: int
    stop_reason: str
    usage: Usage
    error: str = ""
    save_ms: float = 0.0
    """How long the durable write took; it lies between the agent's last word and this event."""


class AgentQuestion(Event, frozen=True, omit_defaults=True):
    """The agent waits for an answer."""

    name: ClassVar[str] = "agent_question"
    request_id: str
    kind: str
    title: str
    turn_id: str | None = None
    message: str = ""
    options: tuple[str, ...] = ()
    placeholder: str = ""
    prefill: str = ""
    timeout_ms: int | None = None


class AgentQuestionClosed(Event, frozen=True):
    """A question is no longer open. `outcome` is answered, cancelled, or gone (its turn or agent ended)."""

    name: ClassVar[str] = "agent_question_closed"
    request_id: str
    outcome: str


class ModelChanged(Event, frozen=True):
    """The task uses another model."""

    name: ClassVar[str] = "model_changed"
    provider: str
    model: str
    abilities: Abilities | None = None


class DriverChanged(Event, frozen=True):
    """The driver lease was taken, or released (`held` is false)."""

    name: ClassVar[str] = "driver_changed"
    held: bool
    channel: int | None = None


class ChannelClosing(Event, frozen=True):
    """The daemon closes this channel; `reason` says why."""

    name: ClassVar[str] = "channel_closing"
    reason: str
    code: str


EVENTS: dict[str, type[Event]] = {
    kind.name: kind
    for kind in (
        TaskBootstrapState,
        TaskSwitchStarted,
        TaskReady,
        TaskError,
        TaskStopped,
        TurnStarted,
        AgentOutput,
        ToolStarted,
        ToolOutput,
        ToolEnded,
        UsageReported,
        AgentEnd,
        AgentQuestion,
        AgentQuestionClosed,
        ModelChanged,
        DriverChanged,
        ChannelClosing,
    )
}
