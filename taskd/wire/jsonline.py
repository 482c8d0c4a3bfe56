"""JSON as it stands on one line of a channel: strict on the way in, never failing on the way out.

In: UTF-8 is checked everywhere (msgspec does not look into what it skips as `Raw`), nesting is bounded before anything
recurses, NaN and other extensions of JSON are refused, and of a key that is there twice the last one counts, as in
Python and in JavaScript. One thing is mended instead of refused: half a surrogate pair, which JavaScript writes as an
escape when a program has cut an emoji in two; it becomes U+FFFD.

Out: a file name that is not UTF-8 reaches us as lone surrogates; it must not make an answer impossible.

It must not know dialects.
"""

import re
from itertools import accumulate
from typing import Any, Final, TypeVar

import msgspec

from taskd.model.errors import Code, TaskdError

MAX_DEPTH: Final = 256
"""Arrays and objects within each other. Python stops at 1000 frames, and a careful walk takes two for a level."""

MAX_SURROGATES: Final = 10_000
"""Escaped surrogates that are looked at in one line, some 5 ms of work; a line with more is not mended."""

_WINDOW_BYTES: Final = 64 << 10
"""Brackets looked at together, so that a hostile line costs no multiple of its size in memory."""

_SPAN: Final = MAX_DEPTH // 2
"""So many brackets cannot open `MAX_DEPTH` levels; mostly it is enough to count them."""

_NO_BRACKET: Final = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_SURROGATES: Final = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?P<low>\\u[dD][c-fC-F][0-9a-fA-F]{2})?|[c-fC-F][0-9a-fA-F]{2})"
)
_REPLACEMENT: Final = rb"\ufffd"

_encode = msgspec.json.Encoder().encode
_T = TypeVar("_T")


def parse(line: bytes, decoder: msgspec.json.Decoder[_T]) -> _T:
    """Decode a line.

    Raises:
        TaskdError: `PARSE_ERROR`, when it is not JSON in UTF-8, or nested deeper than `MAX_DEPTH`.
        msgspec.ValidationError: when it is JSON of another shape than the decoder's; what follows the first
            difference has not been looked at.
    """
    if len(line) > MAX_DEPTH and _opened(line) > MAX_DEPTH and _too_deep(line):
        raise TaskdError(Code.PARSE_ERROR, f"the line is nested deeper than {MAX_DEPTH}")
    if not line.isascii():
        _check_utf8(line)
    try:
        return decoder.decode(line)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        mended = mend(line)
        if mended == line:
            raise _not_json(error) from None
    try:
        return decoder.decode(mended)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        raise _not_json(error) from None


def encode(value: Any) -> bytes:
    """Encode a struct, dict or other plain value; characters that UTF-8 does not have become U+FFFD."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(_whole(msgspec.to_builtins(value, enc_hook=_unwrapped)))


def mend(line: bytes) -> bytes:
    r"""Give the line with each escaped half of a surrogate pair (`\ud83d` alone) as `\ufffd`.

    A line with more than `MAX_SURROGATES`, or with a NUL byte (which is no JSON), comes back as it is.
    """
    if 0 in line:
        return line
    # With escaped backslashes out of the way (NUL stands for them), each backslash that is left begins an escape.
    text = bytearray(line.replace(rb"\\", b"\0\0"))
    for count, found in enumerate(_SURROGATES.finditer(text)):
        if count >= MAX_SURROGATES:
            return line
        if not found["low"]:
            text[found.start() : found.end()] = _REPLACEMENT
    return bytes(text.replace(b"\0\0", rb"\\"))


def _opened(line: bytes) -> int:
    # `replace` goes from hit to hit with memchr; `count` looks at each byte and costs more than the decoding.
    return 2 * len(line) - len(line.replace(b"[", b"")) - len(line.replace(b"{", b""))


def _too_deep(line: bytes) -> bool:
    # In the order of JSON's own reading: escaped backslashes, then escaped quotes, then strings, then brackets.
    bones = line.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, _NO_BRACKET)
    depth, in_string = 0, 0
    for start in range(0, len(bones), _WINDOW_BYTES):
        pieces = bones[start : start + _WINDOW_BYTES].split(b'"')
        brackets = b"".join(pieces[in_string::2])
        in_string ^= (len(pieces) - 1) & 1
        for at in range(0, len(brackets), _SPAN):
            span = brackets[at : at + _SPAN]
            opened = span.count(b"[") + span.count(b"{")
            if depth + opened > MAX_DEPTH and depth + _peak(span) > MAX_DEPTH:
                return True
            depth += 2 * opened - len(span)
    return False


def _peak(brackets: bytes) -> int:
    return max(accumulate(1 if bracket in b"[{" else -1 for bracket in brackets))


def _check_utf8(line: bytes) -> None:
    try:
        line.decode()
    except UnicodeDecodeError as error:
        raise TaskdError(Code.PARSE_ERROR, f"the line is not UTF-8 at byte {error.start}") from None


def _not_json(error: msgspec.DecodeError) -> TaskdError:
    return TaskdError(Code.PARSE_ERROR, f"the line is not JSON: {error}")


def _unwrapped(value: Any) -> Any:
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value)
    raise TypeError(f"a value of type {type(value).__name__} cannot be JSON")


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {_whole(key): _whole(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(inner) for inner in value]
    return value
