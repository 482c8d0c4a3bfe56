"""`LineSplitter` against a simple model, whatever the pieces, and its bounds."""

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.wire.framing import LineSplitter, TooLong

LIMIT = 8
HOSTILE = st.lists(
    st.one_of(
        st.sampled_from([b"\n", b"\r", b"\r\n", b"\r\r\n", b"\xe2\x80\xa8", b"\x85", b"\x0b", b"\x0c", b"\x1c", b"\0"]),
        st.binary(max_size=LIMIT + 3),
    ),
    max_size=30,
).map(b"".join)


def expected(stream: bytes, limit: int) -> tuple[list[bytes | None], bytes]:
    """Give the lines (None for a too long one) and the torn rest, the slow and obvious way."""
    *ended, torn = stream.split(b"\n")
    lines: list[bytes | None] = []
    for line in ended:
        trimmed = line[:-1] if line.endswith(b"\r") else line
        lines.append(trimmed if len(trimmed) <= limit else None)
    if len(torn) - torn.endswith(b"\r") > limit:
        return [*lines, None], b""
    return lines, torn


def split(pieces: list[bytes], limit: int) -> tuple[list[bytes | None], bytes]:
    splitter = LineSplitter(limit)
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    return [None if isinstance(line, TooLong) else line for line in lines], splitter.finish()


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@given(HOSTILE, st.lists(st.integers(0, 400), max_size=20))
def test_any_cut_of_any_stream_gives_the_same_lines(stream: bytes, places: list[int]) -> None:
    assert split(cut(stream, places), LIMIT) == expected(stream, LIMIT)


@given(HOSTILE)
def test_a_stream_that_comes_byte_by_byte_gives_the_same_lines(stream: bytes) -> None:
    assert split([stream[at : at + 1] for at in range(len(stream))], LIMIT) == expected(stream, LIMIT)


@given(st.lists(HOSTILE, max_size=10))
def test_what_waits_never_exceeds_the_limit_by_more_than_a_carriage_return(pieces: list[bytes]) -> None:
    splitter = LineSplitter(LIMIT)
    for piece in pieces:
        splitter.feed(piece)
        assert splitter.waiting <= LIMIT + 1


@pytest.mark.parametrize(
    ("stream", "lines"),
    [
        (b"a\nb\n", [b"a", b"b"]),
        (b"\n\n", [b"", b""]),
        (b"a\r\nb\r\n", [b"a", b"b"]),
        (b"a\r\r\n", [b"a\r"]),
        (b"a\rb\n", [b"a\rb"]),
        ('"\u2028\u2029\u0085"\n'.encode(), ['"\u2028\u2029\u0085"'.encode()]),
        (b"\x0b\x0c\x1c\x1d\x1e\0\n", [b"\x0b\x0c\x1c\x1d\x1e\0"]),
    ],
)
def test_lines_end_at_a_newline_and_nowhere_else(stream: bytes, lines: list[bytes]) -> None:
    assert LineSplitter(100).feed(stream) == lines


def test_a_carriage_return_and_its_newline_may_come_in_two_pieces() -> None:
    splitter = LineSplitter(100)
    assert splitter.feed(b"a\r") == []
    assert splitter.feed(b"\nb\r") == [b"a"]
    assert splitter.feed(b"c\n") == [b"b\rc"]


def test_a_last_line_without_newline_is_torn_and_no_line() -> None:
    splitter = LineSplitter(100)
    assert splitter.feed(b'{"a":1}\n{"b"') == [b'{"a":1}']
    assert splitter.waiting == 4
    assert splitter.finish() == b'{"b"'
    assert splitter.finish() == b""


def test_after_its_end_a_splitter_begins_anew() -> None:
    splitter = LineSplitter(4)
    splitter.feed(b"too long")
    assert splitter.finish() == b""
    assert splitter.feed(b"ab\n") == [b"ab"]


def test_a_line_of_exactly_the_limit_is_whole_with_either_ending() -> None:
    assert LineSplitter(3).feed(b"abc\nabc\r\n") == [b"abc", b"abc"]


def test_a_too_long_line_is_told_once_and_at_once_and_the_next_line_is_whole() -> None:
    splitter = LineSplitter(4)
    assert splitter.feed(b"ok\nabc") == [b"ok"]
    assert splitter.feed(b"def") == [TooLong(6)]
    assert splitter.feed(b"g" * 100) == []
    assert splitter.waiting == 0
    assert splitter.feed(b"h\nnext\n") == [b"next"]


def test_too_long_lines_within_one_piece_stand_in_their_places() -> None:
    assert LineSplitter(2).feed(b"a\nbbb\nc\nddddd\ne\n") == [b"a", TooLong(3), b"c", TooLong(5), b"e"]


def test_a_line_above_the_old_64_kib_limit_of_readers_is_whole() -> None:
    line = b"x" * (3 << 20)
    splitter = LineSplitter(64 << 20)
    lines = [found for piece in cut(line + b"\n", [*range(0, 3 << 20, 64 << 10)]) for found in splitter.feed(piece)]
    assert lines == [line]


def test_an_endless_line_costs_no_more_memory_than_the_limit_and_a_piece() -> None:
    limit, piece = 1 << 20, b"x" * (64 << 10)
    splitter = LineSplitter(limit)
    tracemalloc.start()
    try:
        told = [found for _ in range(200) for found in splitter.feed(piece)]
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(told) == 1
    # A bytearray grows by an eighth more than it needs, and is in two places while the kernel moves it.
    assert peak < 2.5 * limit
    assert held < len(piece)


def test_a_line_in_tiny_pieces_costs_its_size_and_not_an_object_for_each() -> None:
    splitter = LineSplitter(1 << 20)
    tracemalloc.start()
    try:
        for _ in range(100_000):
            splitter.feed(b"ab")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert splitter.waiting == 200_000
    assert held < 2 * 200_000
