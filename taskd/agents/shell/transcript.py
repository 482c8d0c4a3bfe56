"""The text of a command's output while it arrives: decoded, bounded, and explicit about what is left out.

Pure. Keeps the first `head` bytes and the last `tail` bytes after them; what lies between is counted and dropped.
Invariant: the pieces that `feed` and `finish` return, joined, are exactly `text`.
"""

from __future__ import annotations

import codecs
import io

GAP = "\n[too much output: the rest is left out, its end follows when the command is done]\n"
"""Shown at the moment when the first byte is dropped."""

_decoder = codecs.getincrementaldecoder("utf-8")


class Transcript:
    """Output of one command, bounded in both directions."""

    def __init__(self, head: int, tail: int) -> None:
        self._decode = _decoder("replace")
        self._room = head
        self._tail_limit = tail
        self._tail = bytearray()
        self._left_out = 0
        self._shown = io.StringIO()
        self._line_open = False

    def feed(self, data: bytes) -> str:
        """Take raw output; the text to show now, empty while only the tail is kept."""
        kept, rest = data[: self._room], data[self._room :]
        self._room -= len(kept)
        shown = self._decode.decode(kept)
        if rest and self._overflows(rest):
            shown += GAP
            self._decode.reset()
        return self._say(shown)

    def finish(self, note: str = "") -> str:
        """Close the text, once: what the gap swallowed, the tail, then `note` on a line of its own."""
        if self._left_out:
            last = f"[{self._left_out} bytes were left out]\n" + self.peek_tail()
        else:
            last = self._decode.decode(bytes(self._tail), True)
        self._tail.clear()
        if note:
            line_open = not last.endswith("\n") if last else self._line_open
            last += f"\n{note}\n" if line_open else f"{note}\n"
        return self._say(last)

    @property
    def text(self) -> str:
        """All that was shown so far."""
        return self._shown.getvalue()

    def peek_tail(self) -> str:
        """The kept end as it is now, from its first whole character on, undecodable bytes replaced."""
        start = next((at for at, byte in enumerate(self._tail[:4]) if byte & 0xC0 != 0x80), 0) if self._left_out else 0
        return self._tail[start:].decode("utf-8", "replace")

    @property
    def truncated(self) -> bool:
        """Whether output was dropped."""
        return self._left_out > 0

    def _say(self, text: str) -> str:
        if text:
            self._shown.write(text)
            self._line_open = not text.endswith("\n")
        return text

    def _overflows(self, data: bytes) -> bool:
        """Keep the end of `data`; whether output was dropped now for the first time."""
        first = not self._left_out
        self._tail += data
        if (over := len(self._tail) - self._tail_limit) > 0:
            del self._tail[:over]
            self._left_out += over
        return first and self._left_out > 0
