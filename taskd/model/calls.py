"""The API: one params struct and one result struct for each method. This file is the contract's source.

OpenRPC and JSON Schemas in `spec/` are generated from here. Field names are camelCase on the wire. Unknown fields are
ignored, so that newer hosts can talk to older daemons.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from taskd.model.agent import Abilities, Image, Model, Usage
from taskd.model.errors import Code, TaskdError

PROTOCOL_VERSION = 1

Text = Annotated[str, Meta(min_length=1)]
"""A string that says something; what is too long is bounded by the line."""
Count = Annotated[int, Meta(ge=0)]


class Params(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Base of all params."""


class Result(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Base of all results."""


# The channel --------------------------------------------------------------------------------------------------------


class Initialize(Params, frozen=True):
    """Open the conversation. Optional but for TCP, where it carries the token."""

    protocol_version: int = PROTOCOL_VERSION
    client_info: dict[str, Any] = {}
    client_id: str | None = None
    """A host's own stable id: answers to repeated request ids are then found again after a reconnect."""
    token: str | None = None
    nonce: str | None = None
    """Entropy of the host, mixed into ids minted from now on; a cloned guest has the same random numbers otherwise."""


class ServerInfo(Result, frozen=True):
    """The daemon."""

    name: str
    version: str
    pid: int


class AgentProfile(Result, frozen=True):
    """An agent that tasks can be opened with."""

    name: str
    protocol: str
    is_default: bool


class InitializeResult(Result, frozen=True):
    """What the daemon is and can do."""

    protocol_version: int
    server_info: ServerInfo
    capabilities: dict[str, Any]
    agents: tuple[AgentProfile, ...]
    seq: int
    """The last event's number; events that this channel sees have greater ones."""


class Authenticate(Params, frozen=True):
    """Show the token in P0, which has no initialize."""

    token: str


class AuthenticateResult(Result, frozen=True):
    """The token was right."""

    authenticated: bool = True


class Empty(Params, frozen=True):
    """No params."""


class Ping(Empty, frozen=True):
    """Ask for a sign of life of the daemon."""


class GetState(Empty, frozen=True):
    """Ask for all tasks."""


class Diag(Empty, frozen=True):
    """Ask for facts that help to find a fault."""


class ReleaseDriver(Empty, frozen=True):
    """Give the driver lease back."""


class Done(Result, frozen=True):
    """Nothing to tell but that it is done."""


class DriverResult(Result, frozen=True):
    """Whether the calling channel holds the driver lease now."""

    driver: bool


class TakeDriver(Params, frozen=True):
    """Ask for the driver lease; `force` takes it from whoever holds it."""

    force: bool = False


class PingResult(Result, frozen=True):
    """A sign of life, with the daemon's wall clock (RFC 3339, UTC)."""

    at: str


# Tasks --------------------------------------------------------------------------------------------------------------


class CreateOrOpenTask(Params, frozen=True):
    """Create a task, resume a stopped one or recover an errored one. Answers when its agent has answered."""

    task_id: str
    agent: str | None = None
    provider: str | None = None
    model: str | None = None
    thinking_level: str | None = None
    working_folder: str | None = None
    """Absolute; `""` is the task's own folder. Naming one folder forgets the other that was named before."""
    working_folder_relative: str | None = None
    """Below the workspace root; counts where both are given."""


class OpenResult(Result, frozen=True):
    """The task is ready. `mode` is created, resumed or recovered."""

    task_id: str
    state: str
    mode: str
    agent: str
    incarnation: Count
    turn_count: Count
    abilities: Abilities
    bootstrap_status: str
    resumable: bool


class TaskParams(Params, frozen=True):
    """One task."""

    task_id: str


class GetTask(TaskParams, frozen=True):
    """Ask for one task."""


class SwitchTask(TaskParams, frozen=True):
    """Make a ready or idle task the active one."""


class StopTask(TaskParams, frozen=True):
    """Stop a task's agent; its session stays."""


class SwitchResult(Result, frozen=True):
    """The acknowledgement; `task_switch_started` and then `task_ready` or `task_error` follow."""

    status: str
    task_id: str


class StopResult(Result, frozen=True):
    """The task is stopped."""

    task_id: str
    state: str


class Prompt(Params, frozen=True):
    """Start a turn in the active task; with `task_id`, only if that one is the active task."""

    message: Text
    prompt_id: str | None = None
    images: tuple[Image, ...] = ()
    task_id: str | None = None


class PromptResult(Result, frozen=True):
    """The turn is under way; exactly one `agent_end` or `task_error` ends it."""

    accepted: bool
    task_id: str
    prompt_id: str
    turn_id: str


class Say(Params, frozen=True):
    """A message for the running turn of the active task (or of `task_id`)."""

    message: Text
    task_id: str | None = None


class Steer(Say, frozen=True):
    """Say something to the running turn; the agent hears it before its next model call."""


class FollowUp(Say, frozen=True):
    """Queue a message for when the running turn would end."""


class SayResult(Result, frozen=True):
    """The agent has queued it."""

    queued: bool
    task_id: str
    turn_id: str


class Abort(Params, frozen=True):
    """End the running turn of the active task (or of `task_id`)."""

    task_id: str | None = None


class AbortResult(Result, frozen=True):
    """`aborting` is false when nothing was running."""

    aborting: bool
    task_id: str
    turn_id: str | None = None


class QuestionView(Result, frozen=True):
    """An open question of an agent."""

    request_id: str
    task_id: str
    turn_id: str | None
    kind: str
    title: str
    message: str
    options: tuple[str, ...]
    asked_at: str
    timeout_ms: int | None = None


class TaskView(Result, frozen=True):
    """A task as hosts see it. Paths are the guest's."""

    task_id: str
    state: str
    agent: str
    incarnation: Count
    prompt_in_flight: bool
    turn_id: str | None
    turn_count: Count
    usage: Usage
    provider: str | None
    model: str | None
    thinking_level: str | None
    working_folder: str | None
    working_folder_relative: str | None
    current_cwd: str | None
    session_file: str
    task_dir: str
    work_dir: str
    outputs_dir: str
    uploads_dir: str
    bootstrap_status: str
    bootstrap_error: str | None
    bootstrap_updated_at: str | None
    abilities: Abilities | None
    questions: tuple[QuestionView, ...]
    last_error: str | None


class StateResult(Result, frozen=True):
    """All tasks."""

    active_task_id: str | None
    tasks: tuple[TaskView, ...]
    seq: int


class GetSession(Params, frozen=True):
    """The conversation's completed turns, from number `from_turn` on (1 is the first)."""

    task_id: str
    from_turn: Count = 1


class SessionResult(Result, frozen=True):
    """Turns are `records.Turn`."""

    task_id: str
    agent: str
    turn_count: Count
    usage: Usage
    provider: str | None
    model: str | None
    thinking_level: str | None
    saved_at: str | None
    turns: tuple[msgspec.Raw, ...]


# Models, questions, the host's own ----------------------------------------------------------------------------------


class ListModels(Params, frozen=True):
    """The models of the active task's agent (or of `task_id`)."""

    task_id: str | None = None


class ModelsResult(Result, frozen=True):
    """What the agent can use."""

    models: tuple[Model, ...]


class SetModel(Params, frozen=True):
    """Use another model in the active task (or in `task_id`)."""

    provider: str = ""
    model: str = ""
    model_id: str | None = None
    """The name P0 hosts use for `model`."""
    task_id: str | None = None

    def __post_init__(self) -> None:
        if not self.provider or not (self.model or self.model_id):
            raise TaskdError(Code.INVALID_PARAMS, "provider and model are required", details={"field": "model"})


class SetModelResult(Result, frozen=True):
    """The model in use now."""

    id: str
    name: str
    provider: str
    task_id: str


class Answer(Params, frozen=True):
    """Answer an agent's question with exactly one of `value`, `confirmed` or `cancelled`."""

    request_id: str
    task_id: str | None = None
    value: str | None = None
    confirmed: bool | None = None
    cancelled: bool = False


class AnswerResult(Result, frozen=True):
    """The answer was given to the agent."""

    answered: bool
    task_id: str
    request_id: str


class SystemBash(Params, frozen=True):
    """Run a shell command as the daemon's user, for the host itself. `cwd` below a task's folder or absolute."""

    command: Text
    cwd: str | None = None
    working_directory: str | None = None
    """The name that some P0 hosts use for `cwd`."""
    timeout_seconds: Annotated[float, Meta(gt=0)] | None = None


class BashResult(Result, frozen=True):
    """`exit_code` is 124 when the time limit ended it and 128 + n when signal n did."""

    output: str
    exit_code: int
    timed_out: bool
    truncated: bool
    dropped_bytes: Count
    cwd: str | None


class Shutdown(Params, frozen=True):
    """Stop the daemon in order."""

    reason: str = ""


class DiagResult(Result, frozen=True):
    """Facts for people who look for a fault; no contract on the inner fields."""

    timestamp: str
    pid: int
    version: str
    uptime_seconds: float
    active_task_id: str | None
    task_count: Count
    channels: tuple[dict[str, Any], ...]
    limits: dict[str, Any]
    settings: dict[str, Any]
    counters: dict[str, Any]
    tasks: tuple[dict[str, Any], ...]
    story: tuple[str, ...]
