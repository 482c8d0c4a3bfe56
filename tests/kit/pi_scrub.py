"""Takes out of a recorded line what differs from run to run, so that a golden transcript stays the same. Pure.

Everything keeps its type and its place: a time stays a number or an ISO string, an id stays a UUID, a path stays an
absolute path. Ids are numbered in the order in which they are first seen, in both directions alike, so an answer still
names its question. The system prompt and the descriptions of the built-in tools are shortened to a marker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

SHORTENED = "(shortened)"
EPOCH_MS = 1_700_000_000_000
ISO_TIME = "2023-11-14T22:13:20.000Z"
VARYING = ("durationMs", "wall_time_seconds", "estimatedTokensAfter")
"""Numbers that depend on the speed of the machine, or on the length of its paths."""

_UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_ENTRY_ID = re.compile(r"[0-9a-f]{8}")
_ISO = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_PORT = re.compile(r"\b127\.0\.0\.1:\d+")


class Scrubber:
    """Scrubs the lines of one transcript. `paths` gives the name that stands for each absolute path and what is below.

    The longest path is tried first, so one folder may lie inside another.
    """

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = sorted(paths.items(), key=lambda pair: -len(pair[0]))
        self._ids: dict[str, int] = {}

    def line(self, value: Any, key: str = "") -> Any:
        match value:
            case dict():
                return {name: self.line(item, name) for name, item in _without_prompt(value).items()}
            case list():
                return [self.line(item, key) for item in value]
            case str():
                return self._text(value, key)
            case int() | float() if not isinstance(value, bool):
                return EPOCH_MS if key == "timestamp" else 1 if key in VARYING else value
            case _:
                return value

    def _text(self, text: str, key: str) -> str:
        for path, name in self._paths:
            text = text.replace(path, name)
        text = _ISO.sub(ISO_TIME, _PORT.sub("127.0.0.1:1", text))
        text = _UUID.sub(self._numbered("00000000-0000-0000-0000-{:012d}"), text)
        if key.lower().endswith("id") and _ENTRY_ID.fullmatch(text):
            text = _ENTRY_ID.sub(self._numbered("{:08d}"), text)
        return text

    def _numbered(self, form: str) -> Callable[[re.Match[str]], str]:
        return lambda found: form.format(self._ids.setdefault(found[0], len(self._ids) + 1))


def _without_prompt(value: dict[str, Any]) -> dict[str, Any]:
    """The same dict, with the long texts of a system message shortened."""
    if value.get("role") != "system":
        return value
    short = dict(value)
    if short.get("content"):
        short["content"] = SHORTENED
    if "sections" in short:
        short["sections"] = dict.fromkeys(short["sections"], SHORTENED)
    if "toolsAdded" in short:
        fields = {"description": SHORTENED, "parameters": {"type": "object"}}
        short["toolsAdded"] = [{**tool, **fields} for tool in short["toolsAdded"]]
    return short
