"""Fast output: large blocks of delta lines that are encoded once. Pure but for the writer it is given.

New form: one line repeated; the text is N times the same SIZE bytes. Old form: the partial grows with every delta and
is sent twice per line, so N deltas cost N * N * SIZE bytes; nothing is copied, the pieces are written with writev.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from .talk import Json, Talk, encode

BLOCK = 1 << 20
"""Bytes per write, roughly; between two blocks commands are read."""


def pattern(size: int) -> str:
    """SIZE bytes of printable text."""
    return ("0123456789abcdefghijklmnopqrstuvwxyz-+" * (size // 38 + 1))[:size]


def write_all(fd: int, data: bytes) -> None:
    """Write everything; blocks."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def deltas(talk: Talk, fd: int, message: Json, index: int, count: int, size: int) -> Iterator[None]:
    """Write `count` deltas of `size` bytes straight to `fd`; yields between blocks."""
    if talk.old:
        yield from _growing(fd, message, index, count, size)
        return
    event = {"type": "text_delta", "contentIndex": index, "delta": pattern(size)}
    line = encode(talk.update(message, event)) + b"\n"
    per_block = max(1, BLOCK // len(line))
    block = line * per_block
    for _ in range(count // per_block):
        write_all(fd, block)
        yield
    write_all(fd, line * (count % per_block))


def _growing(fd: int, message: Json, index: int, count: int, size: int) -> Iterator[None]:
    mark = "\x01"
    text = pattern(size)
    event: dict[str, Any] = {"type": "text_delta", "contentIndex": index, "delta": text}
    partial = {**message, "content": [{"type": "text", "text": mark}]}
    head, middle, tail = (encode(Talk("0.74").update(partial, event)) + b"\n").split(encode(mark)[1:-1])
    grown = memoryview((text * count).encode())
    for number in range(1, count + 1):
        part = grown[: number * size]
        _write_pieces(fd, [head, part, middle, part, tail])
        if number % 16 == 0:
            yield


def _write_pieces(fd: int, pieces: list[bytes | memoryview]) -> None:
    total = sum(map(len, pieces))
    written = os.writev(fd, pieces)
    if written < total:
        write_all(fd, b"".join(pieces)[written:])
