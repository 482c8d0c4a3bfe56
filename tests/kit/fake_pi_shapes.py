"""The shape of a conversation with pi: what stays when the words, numbers and ids are taken away. Pure.

Two conversations have the same shape when the same kinds of line follow each other with the same keys everywhere. Some
things depend on the moment in which pi looked and are taken out: how often a running tool shows the same, which token
counts the model has told so far, and, in the old form, what the partial message held beside the delta.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

KINDS = frozenset(
    [
        "type",
        "role",
        "stopReason",
        "method",
        "command",
        "success",
        "disposition",
        "toolName",
        "willRetry",
        "aborted",
        "isError",
        "reason",
    ]
)
"""Keys whose values are part of the shape."""
SOMETIMES = frozenset({"reasoning", "totalFromProvider", "strict"})
"""Keys that are there or not for the same kind of line."""
MOMENTARY = frozenset({"content", "stopReason"})
"""Fields of a partial message that depend on how much the model had said when pi looked."""


def shape(value: Any) -> Any:
    """The shape of one JSON value; equal neighbours of a list count once."""
    if isinstance(value, dict):
        value = _settled(value)
        return {k: v if k in KINDS else shape(v) for k, v in sorted(value.items()) if k not in SOMETIMES}
    if isinstance(value, list):
        shapes: list[Any] = []
        for item in map(shape, value):
            if not shapes or shapes[-1] != item:
                shapes.append(item)
        return shapes
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def conversation(lines: Iterable[tuple[bool, Any]]) -> list[tuple[bool, Any]]:
    """The shapes of (sent, line) pairs; repeated looks at a running tool count once."""
    shapes: list[tuple[bool, Any]] = []
    for sent, line in lines:
        item = (sent, shape(line))
        if not (shapes and shapes[-1] == item and item[1].get("type") == "tool_execution_update"):
            shapes.append(item)
    return shapes


def kind(line: dict[str, Any]) -> str:
    """What kind of line it is, in a few words."""
    message = line.get("message")
    parts = [line.get("type"), line.get("assistantMessageEvent", {}).get("type")]
    parts += [message.get("role"), message.get("stopReason")] if isinstance(message, dict) else []
    parts += [line.get("command"), str(line["success"]) if "success" in line else None]
    return " ".join(part for part in parts if part)


def keys(value: Any, at: str = "") -> Iterator[str]:
    """The path of every key in a JSON value; list items share one path."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield f"{at}.{name}"
            yield from keys(below, f"{at}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from keys(item, f"{at}[]")


def _settled(value: dict[str, Any]) -> dict[str, Any]:
    if value.get("type") != "message_update" or "message" not in value:
        return value
    partial = {k: v for k, v in value["message"].items() if k not in MOMENTARY}
    return {
        **value,
        "message": partial,
        "assistantMessageEvent": {**value["assistantMessageEvent"], "partial": partial},
    }
