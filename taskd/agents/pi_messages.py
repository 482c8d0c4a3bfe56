"""From pi's messages, models and questions to the neutral vocabulary. Pure functions without memory.

It must not know the order in which lines come. Rules: what pi leaves out or sends as null becomes the neutral default;
text above a bound is cut at a character and marked; a tool call's arguments are kept as the JSON they are, as long as
they are JSON.
"""

import math
from typing import Final

import msgspec

from taskd.agents.pi_lines import UNREADABLE
from taskd.agents.pi_wire import Message, ModelData, Money, Piece, Question, Result, Tokens
from taskd.model.agent import Asked, Block, MessageEnded, Model, Usage

ROLES: Final = {"user": "user", "assistant": "assistant", "toolResult": "tool", "custom": "custom"}
"""pi's roles that belong to the conversation, and ours. Others (`system`, summaries, bash runs) do not."""

ASKING: Final = frozenset({"select", "confirm", "input", "editor"})
"""Methods of an extension's request that block pi until they are answered; all others only show something."""

ID_CHARS: Final = 1024
"""Characters of a tool call's id or name that are kept; ids of some providers have some 450."""

ERROR_CHARS: Final = 4096
"""Characters of an error's words that are kept: some providers send a page."""

QUESTION_CHARS: Final = 64 << 10
"""Characters that are kept of each text of a question; open questions stay in memory."""

MAX_OPTIONS: Final = 1000
"""Options of a question; nobody reads more."""

NO_ARGS: Final = msgspec.Raw(b"{}")

_UNKNOWN_MODEL: Final = ("unknown", "unknown")
"""What pi says when it has no model at all."""


def message_ended(message: Message, text_bytes: int) -> MessageEnded | None:
    """Give a whole message, its text cut to `text_bytes` in all, or None when it is empty or not
    of the conversation."""
    role = ROLES.get(message.role)
    if role is None:
        return None
    space = _Space(text_bytes)
    blocks = _tool_blocks(message, space) if role == "tool" else _blocks(message, space)
    usage = usage_of(message.usage)
    if not blocks and usage in (None, Usage()):
        # What pi leaves behind of an attempt that failed before its first word.
        return None
    return MessageEnded(role, tuple(blocks), usage)


def text_of(result: Result | None) -> str:
    """Give the text of a tool's result."""
    pieces = result.content if result and result.content else []
    return "\n".join([piece.text for piece in pieces if piece.type == "text" and piece.text])


def args_of(raw: msgspec.Raw, max_bytes: int) -> msgspec.Raw:
    """Give a tool call's arguments as their own bytes; `{}` when they are not JSON or above `max_bytes`."""
    data = bytes(raw)
    try:
        if len(data) > max_bytes or msgspec.json.decode(data) is None:
            return NO_ARGS
    except UNREADABLE:
        return NO_ARGS
    # A copy: the original is a view that would keep the whole line in memory.
    return msgspec.Raw(data)


def usage_of(tokens: Tokens | None) -> Usage | None:
    """Give the usage of one model call."""
    if tokens is None:
        return None
    return Usage(
        whole(tokens.input) or 0,
        whole(tokens.output) or 0,
        whole(tokens.cache_read) or 0,
        whole(tokens.cache_write) or 0,
        whole(tokens.total_tokens) or 0,
        _dollars(tokens.cost),
    )


def model_of(data: ModelData | None) -> Model | None:
    """Give a model; None for the one that stands for having none."""
    if data is None or not data.id or (data.provider, data.id) == _UNKNOWN_MODEL:
        return None
    return Model(data.provider, data.id, data.name or "", whole(data.context_window))


def asked(question: Question) -> Asked | None:
    """Give a question, or None for a request that wants no answer."""
    if question.method not in ASKING or not question.id:
        return None
    return Asked(
        question.id,
        question.method,
        _asking(question.title),
        _asking(question.message),
        tuple(_asking(option) for option in question.options or () if isinstance(option, str))[:MAX_OPTIONS],
        _asking(question.placeholder),
        _asking(question.prefill),
        whole(question.timeout),
    )


def short(text: str | None) -> str:
    """Give an id or a name within its bound."""
    return (text or "")[:ID_CHARS]


def words(text: str | None) -> str:
    """Give an error's words within their bound."""
    return (text or "")[:ERROR_CHARS]


def whole(number: float | None) -> int | None:
    """Give a number of JavaScript as an integer, or None."""
    return int(number) if number is not None and math.isfinite(number) else None


class _Space:
    """How many bytes of text the rest of a message may have."""

    __slots__ = ("left",)

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, text: str) -> tuple[str, bool]:
        """Give as much of the text as there is space for, and whether it was cut."""
        data = text.encode()
        kept = text if len(data) <= self.left else data[: self.left].decode("utf-8", "ignore")
        self.left -= min(len(data), self.left)
        return kept, kept is not text


def _blocks(message: Message, space: _Space) -> list[Block]:
    if isinstance(message.content, str):
        return [_text("text", message.content, space)]
    found = (_block(piece, space) for piece in message.content or ())
    return [block for block in found if block is not None]


def _block(piece: Piece, space: _Space) -> Block | None:
    match piece.type:
        case "text":
            return _text("text", piece.text or "", space)
        case "thinking":
            return _text("thinking", piece.thinking or "", space)
        case "toolCall":
            return _call(piece, space)
        case "image":
            return _image(piece)
    return None


def _tool_blocks(message: Message, space: _Space) -> list[Block]:
    pieces = message.content if isinstance(message.content, list) else []
    whole_text = message.content if isinstance(message.content, str) else text_of(Result(pieces))
    text, cut = space.take(whole_text)
    result = Block(
        "tool_result",
        text=text,
        tool_call_id=short(message.tool_call_id),
        name=short(message.tool_name),
        is_error=bool(message.is_error),
        truncated=cut,
    )
    return [result, *(_image(piece) for piece in pieces if piece.type == "image")]


def _asking(text: str | None) -> str:
    return (text or "")[:QUESTION_CHARS]


def _text(kind: str, text: str, space: _Space) -> Block:
    kept, cut = space.take(text)
    return Block(kind, text=kept, truncated=cut)


def _call(piece: Piece, space: _Space) -> Block:
    args = args_of(piece.arguments, space.left)
    size = len(bytes(piece.arguments))
    cut = size > space.left
    space.left -= 0 if cut else size
    return Block("tool_call", tool_call_id=short(piece.id), name=short(piece.name), args=args, truncated=cut)


def _image(piece: Piece) -> Block:
    """An image is only noted: its bytes are in pi's own file."""
    return Block("image", name=short(piece.mime_type), truncated=True)


def _dollars(cost: Money | None) -> float:
    total = cost.total if cost else None
    return total if total is not None and math.isfinite(total) else 0.0
