"""Tool output: pi tells all of it again and again, hosts are told only what is new.

An update of pi holds what the tool has printed so far; above 50 KB or 2,000 lines it holds a window on the end of it,
which slides. So new text is one of three things: a continuation of the old, a window that has moved on (its head lies
somewhere in the old text), or something else (then the host is told to start afresh). Output that repeats itself
exactly leaves open how far a window has moved; the shortest way is taken.

It must not know lines or messages. Rules: of each call at most `keep_chars` are kept, of at most `MAX_CALLS` calls; an
empty text is no news.
"""

from typing import Final

from taskd.model.agent import ToolOutput

MAX_CALLS: Final = 64
"""Tool calls at once; pi runs those of one message in parallel, a handful. Above it the oldest is forgotten."""

ANCHOR_CHARS: Final = 256
"""So much of a window's head is looked for in the old text: longer than most lines that repeat by chance."""

ANCHOR_TRIES: Final = 64
"""Places where the head was found that are compared to their end; each costs one comparison of a window."""


class ToolBook:
    """What was told of each running tool call.

    Args:
        keep_chars: how much of a call's text is kept for comparison.
    """

    __slots__ = ("_calls", "_keep")

    def __init__(self, keep_chars: int) -> None:
        self._keep = keep_chars
        self._calls: dict[str, _Told] = {}

    def started(self, call_id: str, name: str) -> None:
        """A call begins."""
        while len(self._calls) >= MAX_CALLS:
            del self._calls[next(iter(self._calls))]
        self._calls[call_id] = _Told(name, self._keep)

    def shows(self, call_id: str, text: str) -> ToolOutput | None:
        """Give what is new in a call's whole text, or None."""
        if call_id not in self._calls:
            self.started(call_id, "")
        change = self._calls[call_id].becomes(text) if text else None
        return ToolOutput(call_id, *change) if change else None

    def ended(self, call_id: str) -> str:
        """A call is over; give the name it began with, or an empty one."""
        told = self._calls.pop(call_id, None)
        return told.name if told else ""

    def clear(self) -> None:
        """Forget all calls: their run is over."""
        self._calls.clear()


class _Told:
    """What was told of one call: `_total` characters, of which `_tail` are the last ones."""

    __slots__ = ("_keep", "_tail", "_total", "name")

    def __init__(self, name: str, keep: int) -> None:
        self.name = name
        self._keep = keep
        self._tail = ""
        self._total = 0

    def becomes(self, text: str) -> tuple[str, bool] | None:
        """Give the new part of `text` and whether it replaces what was told; None when nothing is new."""
        if self._continues(text):
            new, reset = text[self._total :], False
        else:
            overlap = _overlap(self._tail, text)
            new, reset = text[overlap:], overlap == 0
        self._total = len(text)
        self._tail = text[-self._keep :]
        return (new, reset) if new or reset else None

    def _continues(self, text: str) -> bool:
        start = self._total - len(self._tail)
        return len(text) >= self._total and text.startswith(self._tail, start)


def _overlap(old: str, new: str) -> int:
    """Give the length of the longest end of `old` that `new` begins with; 0 when it is shorter than the anchor."""
    anchor = new[:ANCHOR_CHARS]
    at = old.find(anchor)
    for _ in range(ANCHOR_TRIES):
        if at < 0:
            return 0
        if new.startswith(old[at:]):
            return len(old) - at
        at = old.find(anchor, at + 1)
    return 0
