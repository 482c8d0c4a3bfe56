"""Bytes to the structs of `pi_wire` and back: one line, or a whole run of deltas at once.

It must not know what a line means. Rules: nothing here raises for what was read; a line that is no message of the
protocol is `Noise`; an object of a type that is not known is `Other`, so that a newer pi can say more; half of a
surrogate pair, which JavaScript writes when it cuts a string between the two, becomes a question mark.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from taskd.agents.pi_wire import Delta, Known, Line, Other
from taskd.model.agent import Noise

SAMPLE_CHARS: Final = 200
"""Characters of an unreadable line that are kept for the log."""

COUNTED_LINE_BYTES: Final = 1024
"""Newlines of a run whose first line is shorter are counted at once; of longer lines they are looked up one by one."""

_Data = TypeVar("_Data")


class _Typed(msgspec.Struct, frozen=True, gc=False):
    type: str


UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what was asked for."""

_decode: Final[Callable[[bytes], Known]] = msgspec.json.Decoder(Known).decode
_peek: Final = msgspec.json.Decoder(_Typed).decode
_decode_run: Final[Callable[[bytes], list[Delta]]] = msgspec.json.Decoder(Delta).decode_lines
_DELTA: Final = b'{"type":"message_update",'
_SEAM: Final = b"}\n" + _DELTA
_TAGS: Final = frozenset(str(kind.__struct_config__.tag) for kind in Line.__subclasses__())

_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def read(line: bytes) -> Known | Other | Noise:
    """Give one line, without its newline, as a struct. Never raises."""
    try:
        return _decode(line)
    except UNREADABLE:
        return _read_again(line)


def read_run(block: bytes) -> list[Delta] | None:
    """Give a block of lines, each with its newline, at once if all of them are plain deltas, or None.

    msgspec's `decode_lines` does not care where lines end, so that has to be certain. Every newline stands between `}`
    and the start of a delta, and none of them in a string (JSON has no raw newlines there). Between a closed value
    and an opening brace only the top level goes on without a comma; so each line is one or more whole objects, and as
    many objects as lines are one on each.
    """
    if not block.startswith(_DELTA) or not block.endswith(b"}\n"):
        return None
    lines = _lines_of_deltas(block)
    try:
        deltas = _decode_run(block) if lines else None
    except UNREADABLE:
        return None
    return deltas if deltas is not None and len(deltas) == lines else None


def data_of(raw: msgspec.Raw, kind: type[_Data]) -> _Data | None:
    """Give the `data` of a response as `kind`, or None when it is something else."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except UNREADABLE:
        return None


def is_object(line: bytes) -> bool:
    """Say whether a line is one whole JSON object, read as JavaScript does: with halves of surrogate pairs."""
    try:
        return isinstance(json.loads(line.decode()), dict)
    except (ValueError, RecursionError):
        return False


def write(fields: dict[str, Any]) -> bytes:
    """Give the line of a command. pi dies of a line that is no object."""
    return msgspec.json.encode(fields) + b"\n"


def noise(reason: str, line: bytes) -> Noise:
    """Describe a line that cannot be used, without keeping it."""
    return Noise(reason, line[:SAMPLE_CHARS].decode("utf-8", "replace"))


def _lines_of_deltas(block: bytes) -> int:
    """Count the newlines of a block; 0 when one of them, except the last, is not in a seam."""
    at, last, lines = block.find(b"\n"), len(block) - 1, 1
    if at <= COUNTED_LINE_BYTES:
        lines = block.count(b"\n")
        return lines if block.count(_SEAM) == lines - 1 else 0
    while at < last:
        if not block.startswith(_SEAM, at - 1):
            return 0
        at = block.find(b"\n", at + 1)
        lines += 1
    return lines


def _read_again(line: bytes) -> Known | Other | Noise:
    mended = _mend(line)
    try:
        kind = _peek(mended).type
    except msgspec.ValidationError:
        return noise("not an object with a type", line)
    except UNREADABLE:
        return noise("not JSON", line)
    if kind not in _TAGS:
        return Other()
    try:
        return _decode(mended)
    except UNREADABLE:
        return noise(f"a {kind} of another shape", line)


def _mend(line: bytes) -> bytes:
    """Replace escaped halves of surrogate pairs, which are no text; other lines come back as they are."""
    if not _SURROGATE.search(line):
        return line
    try:
        return json.dumps(json.loads(line.decode()), ensure_ascii=False).encode("utf-8", "replace")
    except (ValueError, RecursionError):
        return line
