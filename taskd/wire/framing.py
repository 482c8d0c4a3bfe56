"""Bytes to lines, as they come, whatever the pieces.

A line ends at byte 0x0A and nowhere else: U+2028, U+0085, a lone CR and NUL are ordinary bytes here. One CR before the
newline belongs to the ending (pi and some editors write CRLF). What follows the last newline is no line until its
newline comes; at the end of the stream it is torn, and the caller says so.

Used for hosts and for agents. It must not know what a line means. Rules: each byte is scanned and copied a fixed
number of times, however small the pieces; what waits never exceeds the limit plus one piece; how a stream was cut into
pieces changes nothing but `TooLong.size`.
"""

import msgspec

_CR = 0x0D


class TooLong(msgspec.Struct, frozen=True):
    """Stands in the place of a line above the limit; the line itself is skipped up to its newline.

    `size` is how many of its bytes had been seen when the limit was crossed.
    """

    size: int


class LineSplitter:
    """Cuts one stream into lines.

    Args:
        max_bytes: the longest line, without its ending.
    """

    __slots__ = ("_max", "_rest", "_skipping")

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._rest = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes | TooLong]:
        """Take a piece of the stream and give the lines that it completes, without their endings.

        A `TooLong` comes as soon as the limit is crossed, once for each such line.
        """
        if self._skipping:
            end = data.find(b"\n")
            if end < 0:
                return []
            self._skipping = False
            data = data[end + 1 :]
        elif self._rest and self._rest[-1] == _CR and data[:1] == b"\n":
            del self._rest[-1]
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        return self._cut(data)

    @property
    def waiting(self) -> int:
        """How many bytes of an unfinished line are held."""
        return len(self._rest)

    def finish(self) -> bytes:
        """End the stream and give its torn last line: `b""` when it ended with a newline or inside a `TooLong`."""
        torn = bytes(self._rest)
        self._rest = bytearray()
        self._skipping = False
        return torn

    def _cut(self, data: bytes) -> list[bytes | TooLong]:
        # find() looks for the newline at memory speed; split() costs about 0.7 ns a byte, which shows on long lines.
        lines: list[bytes | TooLong] = []
        start, end = 0, data.find(b"\n")
        if end >= 0 and self._rest:
            lines.append(self._join(data[:end]))
            start, end = end + 1, data.find(b"\n", end + 1)
        while end >= 0:
            size = end - start
            lines.append(data[start:end] if size <= self._max else TooLong(size))
            start, end = end + 1, data.find(b"\n", end + 1)
        if start < len(data):
            self._keep(data[start:], lines)
        return lines

    def _join(self, end: bytes) -> bytes | TooLong:
        size = len(self._rest) + len(end)
        if size > self._max:
            # Never put together, so that the bound on what is held is kept here too.
            self._rest = bytearray()
            return TooLong(size)
        self._rest += end
        line = bytes(self._rest)
        self._rest = bytearray()
        return line

    def _keep(self, start: bytes, lines: list[bytes | TooLong]) -> None:
        size = len(self._rest) + len(start)
        # A CR at the very end may turn out to belong to the ending, so it does not count yet.
        if size - start.endswith(b"\r") <= self._max:
            self._rest += start
            return
        lines.append(TooLong(size))
        self._rest = bytearray()
        self._skipping = True
