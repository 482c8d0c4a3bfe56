"""The lines of pi's rpc mode: what each may hold.

Only fields that are used are declared; msgspec skips the others without building them, which is what makes the old
form bearable, where every delta carries the whole message twice. Both forms of pi (0.74 and 1.5, see `pi_codec`) fit
the same structs. Every declared field may be missing or null.

It must not know what a line means for a turn, nor how it is read (`pi_lines`).
"""

from typing import Any, ClassVar, Final

import msgspec

NULL: Final = msgspec.Raw(b"null")


class Line(msgspec.Struct, frozen=True, gc=False, rename="camel", tag_field="type"):
    """Base of all lines. They hold no cycles, so the garbage collector need not look at them."""


class Piece(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A part of a message or of a tool's result; which fields it has depends on its `type`."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    arguments: msgspec.Raw = NULL
    mime_type: str | None = None


class Money(msgspec.Struct, frozen=True, gc=False):
    """US dollars."""

    total: float | None = None


class Tokens(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """`usage` of one model call."""

    input: float | None = None
    output: float | None = None
    cache_read: float | None = None
    cache_write: float | None = None
    total_tokens: float | None = None
    cost: Money | None = None


class Message(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """`message` of a message_end. `stop_reason` is stop, length, toolUse, error, aborted or pending."""

    role: str = ""
    content: str | list[Piece] | None = None
    usage: Tokens | None = None
    stop_reason: str | None = None
    error_message: str | None = None
    tool_call_id: str | None = None
    tool_name: str | None = None
    is_error: bool | None = None


class Growth(msgspec.Struct, frozen=True, gc=False):
    """`assistantMessageEvent`: only text_delta and thinking_delta are of interest."""

    type: str = ""
    delta: str | None = None


class Update(Line, frozen=True, gc=False, tag="message_update"):
    """More of an assistant message. 0.74 repeats all that came before in `message` and `partial`; both are skipped."""

    assistant_message_event: Growth | None = None


class TextDelta(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="text_delta"):
    """A `Growth` that is text, as `read_run` knows it."""

    kind: ClassVar[str] = "text"
    delta: str


class ThinkingDelta(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="thinking_delta"):
    """A `Growth` that is thinking, as `read_run` knows it."""

    kind: ClassVar[str] = "thinking"
    delta: str


class Delta(msgspec.Struct, frozen=True, gc=False, rename="camel", tag_field="type", tag="message_update"):
    """An `Update` of which no field is in doubt, as `read_run` knows it."""

    assistant_message_event: TextDelta | ThinkingDelta


class MessageEnd(Line, frozen=True, gc=False, tag="message_end"):
    """A message is whole."""

    message: Message | None = None


class RunStart(Line, frozen=True, gc=False, tag="agent_start"):
    """A run begins; a turn has several when pi retries or continues."""


class TurnStart(Line, frozen=True, gc=False, tag="turn_start"):
    """Of no interest, but said in every turn: a type that is not known is read twice."""


class TurnEnd(Line, frozen=True, gc=False, tag="turn_end"):
    """As `TurnStart`; it repeats the message."""


class MessageStart(Line, frozen=True, gc=False, tag="message_start"):
    """As `TurnStart`."""


class RunEnd(Line, frozen=True, gc=False, tag="agent_end"):
    """A run ends. `will_retry` since 0.75.4. `messages` (all of the run) is skipped."""

    will_retry: bool | None = None


class Settled(Line, frozen=True, gc=False, tag="agent_settled"):
    """Nothing follows by itself. Since 0.80.4; `aborted` since 1.1.0."""

    aborted: bool | None = None


class RetryStart(Line, frozen=True, gc=False, tag="auto_retry_start"):
    """The failed run will be tried again after a pause."""


class RetryEnd(Line, frozen=True, gc=False, tag="auto_retry_end"):
    """A retry succeeded, was given up, or was cancelled."""

    success: bool | None = None


class CompactionStart(Line, frozen=True, gc=False, tag="compaction_start"):
    """The conversation is being summarised."""


class CompactionEnd(Line, frozen=True, gc=False, tag="compaction_end"):
    """It is done. `will_retry`: the run that overflowed goes on by itself. `result` is null when nothing was done."""

    will_retry: bool | None = None
    result: msgspec.Raw = NULL


class QueueUpdate(Line, frozen=True, gc=False, tag="queue_update"):
    """What waits to be heard by a run, now."""

    steering: list[Any] | None = None
    follow_up: list[Any] | None = None


class Result(msgspec.Struct, frozen=True, gc=False):
    """What a tool has to show."""

    content: list[Piece] | None = None


class ToolStart(Line, frozen=True, gc=False, tag="tool_execution_start"):
    """A tool call begins."""

    tool_call_id: str = ""
    tool_name: str | None = None
    args: msgspec.Raw = NULL


class ToolUpdate(Line, frozen=True, gc=False, tag="tool_execution_update"):
    """All output of a tool so far, not only what is new."""

    tool_call_id: str = ""
    partial_result: Result | None = None


class ToolEnd(Line, frozen=True, gc=False, tag="tool_execution_end"):
    """A tool call is over; `result` often extends the last update by a remark."""

    tool_call_id: str = ""
    tool_name: str | None = None
    result: Result | None = None
    is_error: bool | None = None
    duration_ms: float | None = None


class Question(Line, frozen=True, gc=False, tag="extension_ui_request"):
    """An extension asks for something, or merely shows something (see `pi_messages.ASKING`). `timeout` is in ms."""

    id: str = ""
    method: str = ""
    title: str | None = None
    message: str | None = None
    options: list[Any] | None = None
    placeholder: str | None = None
    prefill: str | None = None
    timeout: float | None = None


class Response(Line, frozen=True, gc=False, tag="response"):
    """The answer to a command. `id` is missing for `parse` errors, and for unknown commands before 0.79.7."""

    id: Any = None
    command: str | None = None
    success: bool | None = None
    error: str | None = None
    data: msgspec.Raw = NULL


class Other(msgspec.Struct, frozen=True):
    """An object with a type that means nothing to us."""


Known = (
    Update
    | MessageEnd
    | RunStart
    | TurnStart
    | TurnEnd
    | MessageStart
    | RunEnd
    | Settled
    | RetryStart
    | RetryEnd
    | CompactionStart
    | CompactionEnd
    | QueueUpdate
    | ToolStart
    | ToolUpdate
    | ToolEnd
    | Question
    | Response
)


class ModelData(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A model as pi describes it."""

    provider: str = ""
    id: str = ""
    name: str | None = None
    context_window: float | None = None


class ModelList(msgspec.Struct, frozen=True, gc=False):
    """`data` of the answer to get_available_models."""

    models: list[ModelData] | None = None


class State(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """`data` of the answer to get_state."""

    model: ModelData | None = None
    thinking_level: str | None = None
    is_streaming: bool | None = None
    is_compacting: bool | None = None
    session_file: str | None = None
    pending_message_count: float | None = None


class Queues(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """`data` of the answer to clear_queue: what waited."""

    steering: list[Any] | None = None
    follow_up: list[Any] | None = None


class Disposition(msgspec.Struct, frozen=True, gc=False):
    """`data` of the answer to prompt, since 0.99.0: started, queued or handled."""

    disposition: str | None = None
