"""The bytes of session.json: a whole file or nothing, for every byte that may be lost or changed."""

import hashlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.model.agent import Block, Usage
from taskd.model.limits import Limits
from taskd.model.records import Message, NativeMark, Turn
from taskd.services import session_file
from taskd.services.session_file import Newer, Stored, Unreadable
from tests.services.store_world import record, turn

MARK = NativeMark(copy="agent-copy/001.jsonl", length=3, sha256="00")


def _stored(*turns, **changes):
    stored = Stored(session_file.empty_session(record(**changes)))
    for one in turns:
        stored = session_file.with_turn(stored, one, record(**changes), MARK)
    return stored


def _file(*turns, **changes):
    return b"".join(session_file.encode_session(_stored(*turns, **changes)))


def _seal(body, kind="taskd-session"):
    return session_file._seal(kind, hashlib.sha256(body)) + body + b"}\n"


def _turns(stored):
    return [msgspec.json.decode(raw, type=Turn) for raw in session_file.turns_from(stored, 1).turns]


def _same(one: Stored, other: Stored) -> bool:
    return (one.session, session_file._joined(one)) == (other.session, session_file._joined(other))


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_counts = st.integers(0, 2**53)
_usages = st.builds(Usage, _counts, _counts, _counts, _counts, _counts, st.floats(0, 1e6))
_blocks = st.builds(
    Block,
    type=st.sampled_from(["text", "thinking", "tool_call", "tool_result"]),
    text=_texts,
    name=_texts,
    args=st.dictionaries(_texts, _texts, max_size=2).map(lambda value: msgspec.Raw(msgspec.json.encode(value))),
    is_error=st.booleans(),
)
_messages = st.builds(Message, role=_texts, content=st.lists(_blocks, max_size=2).map(tuple))
_any_turns = st.builds(
    Turn,
    turn_id=_texts,
    number=st.integers(0, 9),
    prompt_id=st.none() | _texts,
    started_at=_texts,
    ended_at=_texts,
    stop_reason=_texts,
    error=_texts,
    usage=_usages,
    messages=st.lists(_messages, max_size=2).map(tuple),
)


@given(st.lists(_any_turns, max_size=4), _texts)
def test_a_session_comes_back_as_it_was_on_one_line(turns, model):
    stored = _stored(*turns, model=model)

    data = b"".join(session_file.encode_session(stored))
    read = session_file.decode_session(data, "t1")

    assert _same(read, stored)
    assert (data[-2:], data.count(b"\n")) == (b"}\n", 1)
    assert read.session.turn_count == len(turns)
    assert msgspec.json.encode(_turns(read)) == msgspec.json.encode(
        [msgspec.structs.replace(one, number=i + 1) for i, one in enumerate(turns)]
    )
    assert all(session_file.has_turn(read, one.turn_id) for one in turns)
    assert msgspec.json.decode(data)["body"] == msgspec.to_builtins(
        msgspec.structs.replace(read.session, turns=[json.loads(bytes(raw)) for raw in session_file._split(read)])
    )


def test_the_envelope_is_as_it_is_written_down():
    data = _file(turn("a"))

    envelope = json.loads(data)

    assert list(envelope) == ["format", "version", "sha256", "body"]
    assert (envelope["format"], envelope["version"], len(envelope["sha256"])) == ("taskd-session", 1, 64)
    assert list(envelope["body"])[:3] == ["turns", "version", "taskId"]
    assert hashlib.sha256(data[data.index(b'"body":') + 7 : -2]).hexdigest() == envelope["sha256"]


def test_every_torn_length_and_every_flipped_byte_is_found_out():
    data = _file(turn("a"))

    for length in range(len(data)):
        with pytest.raises(Unreadable):
            session_file.decode_session(data[:length], "t1")
    for at in range(len(data)):
        flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(Unreadable):
            session_file.decode_session(flipped, "t1")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_session_or_unreadable(data):
    with pytest.raises(Unreadable):
        session_file.decode_session(data, "t1")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "blank"),
        (b"\0" * 100, "format"),
        (b'{"format":"other","version":1}', "format"),
        (b'{"type":"session","version":3}', "format"),
        (b'{"format":"taskd-session","version":1,"sh', "torn"),
    ],
)
def test_the_reason_says_what_was_found(data, reason):
    with pytest.raises(Unreadable) as caught:
        session_file.decode_session(data, "t1")

    assert caught.value.reason == reason


def test_a_session_of_another_task_or_a_body_that_does_not_fit_is_unreadable():
    data = _file(turn("a"))
    strange = _seal(b'{"turns":[],"version":1,"taskId":"t1"}')

    for one, reason in ((data, "other_task"), (strange, "schema")):
        with pytest.raises(Unreadable) as caught:
            session_file.decode_session(one, "t2" if reason == "other_task" else "t1")
        assert caught.value.reason == reason


def test_a_newer_file_is_told_apart_from_a_broken_one():
    data = _file(turn("a"))
    newer_body = _seal(b'{"version":9,"shape":"unknown"}')
    newer_rest = _seal(b'{"turns":[],"version":9,"shape":"unknown"}')

    for one in (data.replace(b'"version":1', b'"version":2', 1), newer_body, newer_rest):
        with pytest.raises(Newer):
            session_file.decode_session(one, "t1")


def test_fields_that_a_later_minor_version_added_are_ignored():
    body = {"turns": [], "version": 1, "taskId": "t1", "agent": "a", "savedAt": "", "novelty": {"x": [1]}}

    assert session_file.decode_session(_seal(msgspec.json.encode(body)), "t1").session.agent == "a"


@pytest.mark.parametrize("arguments", [b"", b"{", b'{"a":\xff}', b"[" * 800 + b"]" * 800, b'"\\ud800"'])
def test_what_an_agent_put_into_a_turn_cannot_make_the_session_unreadable(arguments):
    poisoned = msgspec.structs.replace(
        turn("b"), messages=(Message("assistant", (Block("tool_call", args=msgspec.Raw(arguments)),)),)
    )

    _, second, third = _turns(session_file.decode_session(_file(turn("a"), poisoned, turn("c")), "t1"))

    assert third.messages == turn("c").messages
    assert second.turn_id == "b"
    assert second.usage == turn("b").usage
    assert second.messages[0].content[0].truncated


def test_a_text_that_is_no_unicode_cannot_either():
    odd = msgspec.structs.replace(turn("b"), error="no \ud800", messages=(Message("user", (Block("text", "\udc00"),)),))

    assert _turns(_stored(odd))[0].error == "no ?"


def test_a_turn_id_in_the_arguments_of_a_tool_is_no_turn():
    call = Block("tool_call", args=msgspec.Raw(b'[{"turnId":"b","x":1}]'))
    stored = _stored(msgspec.structs.replace(turn("a"), messages=(Message("assistant", (call,)),)))

    assert session_file.has_turn(stored, "a")
    assert not session_file.has_turn(stored, "b")


def test_above_the_bound_the_oldest_turns_are_left_out_and_the_count_stays():
    stored = _stored(*(turn(f"t{i}", "x" * 1000) for i in range(10)))
    limit = 10_000

    data = b"".join(session_file.encode_session(session_file.fit(stored, limit)))
    read = session_file.decode_session(data, "t1")

    assert limit - 4000 < len(data) <= limit
    assert read.session.turn_count == 10
    numbers = [one.number for one in _turns(read)]
    assert numbers == list(range(11 - len(numbers), 11))
    last_two = session_file.turns_from(read, 9)
    assert [msgspec.json.decode(raw, type=Turn).number for raw in last_two.turns] == [9, 10]
    assert len(session_file.turns_from(read, 1).turns) == len(numbers)
    assert session_file.turns_from(read, 11).turns == []


def test_a_turn_that_alone_is_above_the_bound_keeps_all_but_its_messages():
    data = b"".join(session_file.encode_session(session_file.fit(_stored(turn("a", "x" * 9000)), 2000)))

    (kept,) = _turns(session_file.decode_session(data, "t1"))
    assert len(data) <= 2000
    assert (kept.turn_id, kept.usage, kept.messages[0].content[0].truncated) == ("a", turn("a").usage, True)


def test_a_glance_gives_the_session_without_its_turns_and_only_of_a_file_that_looks_whole():
    tricky = record(model='sneaky","turns":[1]')
    stored = session_file.with_turn(Stored(session_file.empty_session(tricky)), turn("a", "x" * 5000), tricky, MARK)
    data = b"".join(session_file.encode_session(stored))

    assert session_file.glance(data[:256], data[-1000:], "t1") == stored.session
    assert session_file.decode_session(data, "t1").session == stored.session
    assert session_file.glance(data[:256], data[-1000:-1], "t1") is None
    assert session_file.glance(data[:256], data[-1000:], "t2") is None
    assert session_file.glance(data[:256], data[-100:], "t1") is None
    assert session_file.glance(b"\0" + data[1:256], data[-1000:], "t1") is None
    assert session_file.glance(_file(turn("a")).replace(b'n":1', b'n":2', 1), data[-1000:], "t1") is None


def test_the_bound_of_the_daemon_is_far_above_a_long_conversation():
    assert Limits().session_bytes > 50 * (3 << 20)
