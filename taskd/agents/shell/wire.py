"""Bytes of the rpc wire: lines in, lines out. Pure.

One JSON object per line, split on byte 0x0A only; a carriage return before it is dropped. A line over the limit is
skipped to its newline and reported once. Messages travel as encoded bytes (`Raw`): each is encoded once and then put
into message_end, turn_end, agent_end and the session file as it is.
"""

from __future__ import annotations

import json
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

Raw = bytes
"""A JSON value, encoded, without newline."""

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode(value: Any) -> Raw:
    """Compact JSON in UTF-8; lone surrogates become question marks. Raises ValueError for NaN and infinities."""
    return _encoder.encode(value).encode("utf-8", "replace")


def wrap(head: str, raw: Raw, tail: str = "}") -> Raw:
    """An object line around an encoded value: `head` opens it, `tail` closes it."""
    return head.encode() + raw + tail.encode()


def array(items: Iterable[Raw]) -> Raw:
    """An encoded array of encoded values."""
    return b"[" + b",".join(items) + b"]"


def decode(line: bytes | None) -> dict[str, Any]:
    """The object on `line` (None: a line that was too long). Raises ValueError with a reason that can be shown."""
    if line is None:
        raise ValueError("the line is too long")
    try:
        value = json.loads(line.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    return value


class LineBuffer:
    """Splits a byte stream into lines of at most `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes | None]:
        """The complete lines, without their ends; None stands for one that was too long. Blank lines are dropped."""
        found: list[bytes | None] = []
        *whole, rest = data.split(b"\n")
        for piece in whole:
            found += self._line(piece)
        self._hold(rest)
        return found

    def _line(self, piece: bytes) -> list[bytes | None]:
        self._hold(piece)
        line, self._rest = bytes(self._rest), bytearray()
        skipped, self._skipping = self._skipping, False
        if skipped:
            return [None]
        line = line.removesuffix(b"\r")
        return [line] if line.strip() else []

    def _hold(self, piece: bytes) -> None:
        if self._skipping or len(self._rest) + len(piece) > self._limit:
            self._skipping = True
            self._rest.clear()
        else:
            self._rest += piece


class Recent:
    """The newest encoded messages within a bound of bytes; at least the last one is kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[Raw] = deque()
        self._size = 0

    def add(self, raw: Raw) -> None:
        """Append one; the oldest go when the bound is passed."""
        self._items.append(raw)
        self._size += len(raw)
        while self._size > self._limit and len(self._items) > 1:
            self._size -= len(self._items.popleft())

    def __iter__(self) -> Iterator[Raw]:
        return iter(self._items)
