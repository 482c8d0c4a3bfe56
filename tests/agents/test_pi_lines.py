"""Reading lines: never an exception, and a run of deltas read at once is read as line by line."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskd.agents import pi_lines
from taskd.agents.pi_codec import RUN_BYTES
from taskd.agents.pi_wire import TextDelta, Update
from taskd.model import agent
from tests.agents.pi_replay import SCENARIOS, greeted, line_of, merged, said_lines
from tests.agents.pi_talk import delta
from tests.kit.pi_goldens import VERSIONS

GOLDEN = b"".join(said_lines(version, scenario) for version in VERSIONS for scenario in SCENARIOS)
GOLDEN_LINES = GOLDEN.split(b"\n")[:-1]

PREFIX = b'{"type":"message_update",'
TAILS = (
    b'"assistantMessageEvent":{"type":"text_delta","delta":"a"}}',
    b'"assistantMessageEvent":{"type":"thinking_delta","delta":"b","contentIndex":0}}',
    b'"assistantMessageEvent":{"type":"text_delta","delta":"a}","x":{}}}',
    b'"assistantMessageEvent":{"type":"text_delta","delta":"a","type":"thinking_delta"}}',
    b'"assistantMessageEvent":{"type":"toolcall_delta","delta":"a"}}',
    b'"assistantMessageEvent":{"type":"text_delta","delta":null}}',
    b'"assistantMessageEvent":null}',
    b'"type":"agent_start"}',
    b'"x":[',
    b'"x":{"y":{}',
    b'"x":"}',
    b'"x":1}' + PREFIX + b'"assistantMessageEvent":{"type":"text_delta","delta":"2"}}',
    b"",
)
"""Ends of a line that begins like a delta: good ones, and all ways to make two lines one or one line two."""

line = st.one_of(
    st.sampled_from(TAILS[:2]).map(lambda tail: PREFIX + tail),
    st.sampled_from(TAILS).map(lambda tail: PREFIX + tail),
    st.sampled_from([b"", b"}", b"]}", b'{"type":"agent_settled"}', b" ", b"\xff", b'"}']),
)
newline = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b" \n"])


def one_by_one(block: bytes) -> list[Any]:
    return [pi_lines.read(line) for line in block.split(b"\n")[:-1]]


@settings(deadline=None)
@given(st.lists(st.tuples(line, newline), min_size=1, max_size=8))
def test_a_run_is_read_at_once_as_it_is_line_by_line(parts: list[tuple[bytes, bytes]]) -> None:
    block = b"".join(one + end for one, end in parts)
    deltas = pi_lines.read_run(block)
    if deltas is not None:
        read = one_by_one(block)
        assert all(isinstance(one, Update) for one in read)
        assert [(one.assistant_message_event.kind, one.assistant_message_event.delta) for one in deltas] == [
            (one.assistant_message_event.type.removesuffix("_delta"), one.assistant_message_event.delta) for one in read
        ]


@pytest.mark.parametrize("tail", [b'"x":{}', b'"x":"}', b'"x":[', b'"x":1}{}'])
def test_lines_that_are_only_together_json_are_no_run(tail: bytes) -> None:
    good = PREFIX + TAILS[0] + b"\n"
    assert pi_lines.read_run(good + PREFIX + tail + b"\n" + good) is None


@pytest.mark.parametrize("size", [10, 2000])
def test_a_run_of_plain_deltas_is_read_at_once(size: int) -> None:
    deltas = pi_lines.read_run(line_of(delta("x" * size)) * 3)
    assert deltas is not None
    assert [one.assistant_message_event for one in deltas] == [TextDelta("x" * size)] * 3


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(GOLDEN_LINES),
            st.text(max_size=300).map(lambda text: line_of(delta(text))[:-1]),
            st.integers(1, 3000).map(lambda size: line_of(delta("x" * size))[:-1]),
            st.builds(lambda words, kind: line_of(delta(words, kind))[:-1], st.text(), st.just("thinking")),
        ),
        min_size=1,
        max_size=40,
    ),
    st.booleans(),
)
def test_a_long_piece_is_told_as_its_lines_are(lines: list[bytes], keep_raw: bool) -> None:
    data = b"".join(line + b"\n" for line in lines) * (1 + RUN_BYTES // sum(len(line) + 1 for line in lines))
    together, apart = greeted(keep_raw=keep_raw), greeted(keep_raw=keep_raw)
    said = together.feed(data)
    one_by_one: list[agent.Said] = []
    raw: list[bytes] = []
    for line in data.split(b"\n")[:-1]:
        one_by_one += apart.feed(line + b"\n")
        raw += apart.raw_lines()
    assert merged(without_raw(said)) == merged(without_raw(one_by_one))
    assert together.raw_lines() == raw


def without_raw(story: list[agent.Said]) -> list[agent.Said]:
    """A story without encoded arguments, which compare by identity."""
    return [said for said in story if not isinstance(said, agent.ToolStarted | agent.MessageEnded)]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=10))
def test_no_bytes_raise(pieces: list[bytes]) -> None:
    codec = greeted(keep_raw=True)
    for piece in [*pieces, b""]:
        codec.feed(piece)


@settings(deadline=None)
@given(
    st.integers(0, len(GOLDEN) - 1),
    st.integers(1, 3000),
    st.lists(st.tuples(st.integers(0, 2999), st.integers(0, 255)), max_size=6),
)
def test_no_mutation_of_what_real_pi_says_raises(start: int, size: int, changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOLDEN[start : start + size])
    for at, value in changes:
        data[at % len(data)] = value
    codec = greeted(keep_raw=True)
    codec.send(agent.Prompt(1, "do it"))
    for said in [*codec.feed(bytes(data)), *codec.feed(b"")]:
        assert isinstance(json.loads(msgspec.json.encode(said)), dict), "what is told can be told on"


json_value: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.sampled_from(GOLDEN_LINES), st.data())
def test_no_other_value_in_the_place_of_a_field_raises(golden: bytes, data: st.DataObject) -> None:
    value = json.loads(golden)
    inner = value
    while True:
        name = data.draw(st.sampled_from(sorted(inner)))
        if not (isinstance(inner[name], dict) and inner[name] and data.draw(st.booleans())):
            break
        inner = inner[name]
    if name != "type":
        inner[name] = data.draw(json_value)
    codec = greeted(keep_raw=True)
    codec.send(agent.Prompt(1, "do it"))
    codec.feed(line_of(value))
    codec.feed(b"")
