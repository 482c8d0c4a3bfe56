"""What any agent can be told, and what any agent can say, whatever it speaks on its pipe.

A codec in `agents/` turns these into the bytes of one protocol and back. Nothing here names a protocol.
"""

from typing import Any

import msgspec


class Usage(msgspec.Struct, frozen=True, rename="camel"):
    """Tokens and money of one or more model calls. `cost` is in US dollars as the agent reports it."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    total_tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input + other.input,
            self.output + other.output,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
            self.total_tokens + other.total_tokens,
            self.cost + other.cost,
        )


class Model(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One model that an agent can use."""

    provider: str
    id: str
    name: str = ""
    context_window: int | None = None


class Image(msgspec.Struct, frozen=True, rename="camel"):
    """An image for a prompt: base64 `data` of type `mime_type`."""

    data: str
    mime_type: str = "image/png"


class Abilities(msgspec.Struct, frozen=True, rename="camel"):
    """What an agent can do; what it cannot is refused as `UNSUPPORTED` before anything is sent."""

    resume: bool = True
    images: bool = False
    steer: bool = False
    models: bool = False
    questions: bool = False


# What an agent can be told ------------------------------------------------------------------------------------------


class Command(msgspec.Struct, frozen=True):
    """Base of all commands. `tag` is echoed in the `Answered` that a command with an answer causes."""


class Prompt(Command, frozen=True):
    """Start a turn."""

    tag: int
    message: str
    images: tuple[Image, ...] = ()


class Steer(Command, frozen=True):
    """Say something to a running turn; heard before its next model call."""

    tag: int
    message: str


class FollowUp(Command, frozen=True):
    """Queue something for when the running turn would end."""

    tag: int
    message: str


class Abort(Command, frozen=True):
    """End the running turn."""


class Probe(Command, frozen=True):
    """Ask for a sign of life, answered by `Alive`."""


class SetModel(Command, frozen=True):
    """Use another model; answered by `Answered` with a `Model` as its value."""

    tag: int
    provider: str
    model: str


class ListModels(Command, frozen=True):
    """Answered by `Answered` with a list of `Model`."""

    tag: int


class AnswerQuestion(Command, frozen=True):
    """Answer an `Asked`: exactly one of value, confirmed, cancelled is meant, in that order."""

    request_id: str
    value: str | None = None
    confirmed: bool | None = None
    cancelled: bool = False


# What an agent can say ----------------------------------------------------------------------------------------------


class Said(msgspec.Struct, frozen=True):
    """Base of all that an agent can say."""


class Ready(Said, frozen=True):
    """The handshake is done: the agent has answered and its model is set."""

    abilities: Abilities
    model: Model | None = None
    thinking_level: str | None = None
    native_session: str | None = None


class Refused(Said, frozen=True):
    """The handshake failed; the process is of no use."""

    message: str


class Alive(Said, frozen=True):
    """The answer to a `Probe`."""


class Answered(Said, frozen=True):
    """The answer to the command with that tag: a value, or what the agent said against it."""

    tag: int
    ok: bool
    value: Any = None
    error: str = ""


class TextDelta(Said, frozen=True):
    """More of the answer. `kind` is `text` or `thinking`."""

    text: str
    kind: str = "text"


class ToolStarted(Said, frozen=True):
    """A tool call begins; `args` is the call's JSON."""

    tool_call_id: str
    name: str
    args: msgspec.Raw = msgspec.Raw(b"{}")


class ToolOutput(Said, frozen=True):
    """More output of a tool; always a delta, `reset` when the agent replaced what it had said before."""

    tool_call_id: str
    text: str
    reset: bool = False


class ToolEnded(Said, frozen=True):
    """A tool call is over. `duration_ms` is the agent's own figure, where it gives one."""

    tool_call_id: str
    name: str
    is_error: bool
    duration_ms: int | None = None


class MessageEnded(Said, frozen=True):
    """One whole message of the conversation, for the session. `content` is a list of neutral blocks (see `Block`)."""

    role: str
    content: tuple["Block", ...]
    usage: Usage | None = None


class Block(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A piece of a message. `type` is text, thinking, image, tool_call or tool_result."""

    type: str
    text: str = ""
    tool_call_id: str = ""
    name: str = ""
    args: msgspec.Raw = msgspec.Raw(b"")
    is_error: bool = False
    truncated: bool = False


class TurnEnded(Said, frozen=True):
    """The turn is over. `stop_reason` is one of `states.StopReason`."""

    stop_reason: str
    error: str = ""


class Asked(Said, frozen=True):
    """A question that blocks the agent. `kind` is permission, select, confirm, input or editor."""

    request_id: str
    kind: str
    title: str
    message: str = ""
    options: tuple[str, ...] = ()
    placeholder: str = ""
    prefill: str = ""
    timeout_ms: int | None = None


class Noise(Said, frozen=True):
    """Something that is no message of the protocol; kept for logs and counters, never for hosts."""

    reason: str
    sample: str = ""
