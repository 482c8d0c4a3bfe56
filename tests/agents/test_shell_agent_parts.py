"""The pure parts of the built-in agent: what a prompt means, how output is bounded, how lines are split."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.agents.shell.grammar import Dialog, Say, Script, outcome, parse
from taskd.agents.shell.pending import Pending
from taskd.agents.shell.transcript import GAP, Transcript
from taskd.agents.shell.wire import LineBuffer, Recent, decode, encode

# -- prompts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt", ["ls", "", "  ls", "a\nb", "/bin/ls", "/help me", "/asking", "!tools", "!tool", "! true", "/Ask a | b"]
)
def test_what_is_not_ours_is_a_script_as_it_stands(prompt: str) -> None:
    task = parse(prompt)
    assert isinstance(task, Script)
    assert (task.text, task.as_tool) == (prompt, False)


@pytest.mark.parametrize(("prompt", "script"), [("!tool ls", "ls"), (" !tool\nls\npwd", "ls\npwd"), ("!tool  a", " a")])
def test_a_tool_is_marked(prompt: str, script: str) -> None:
    task = parse(prompt)
    assert isinstance(task, Script)
    assert (task.text, task.as_tool) == (script, True)


@pytest.mark.parametrize(
    ("prompt", "fields"),
    [
        ("/ask A | b |c| ", {"method": "select", "title": "A", "options": ["b", "c"]}),
        (" /confirm Sure? ", {"method": "confirm", "title": "Sure?", "message": "Sure?"}),
        ("/confirm", {"method": "confirm", "title": "Confirm", "message": ""}),
        ("/input Name", {"method": "input", "title": "Name", "placeholder": ""}),
    ],
)
def test_a_dialog_is_described(prompt: str, fields: dict[str, object]) -> None:
    task = parse(prompt)
    assert isinstance(task, Dialog)
    assert task.fields == fields


@pytest.mark.parametrize("prompt", ["/ask", "/ask Title", "/ask Title | ", "/help"])
def test_a_question_without_options_is_told_how_to_ask(prompt: str) -> None:
    task = parse(prompt)
    assert isinstance(task, Say)
    assert "/ask" in task.text


@pytest.mark.parametrize("reply", [{}, {"value": None}, {"confirmed": "yes"}, {"cancelled": True, "value": "x"}])
def test_a_reply_that_says_nothing_is_a_cancelled_one(reply: dict[str, object]) -> None:
    assert outcome(reply) == "[cancelled]\n"


# -- output ------------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8), st.integers(0, 64), st.integers(0, 64))
def test_what_is_shown_piece_by_piece_is_the_text(data: bytes, cuts: list[int], head: int, tail: int) -> None:
    transcript = Transcript(head, tail)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    shown = [transcript.feed(data[a:b]) for a, b in pairwise(edges)]
    shown.append(transcript.finish("[exit 1]"))
    assert "".join(shown) == transcript.text
    assert transcript.truncated == (len(data) > head + tail)
    assert transcript.text.endswith("[exit 1]\n")


@given(st.binary(max_size=100), st.integers(0, 100))
def test_output_within_its_bounds_is_decoded_as_a_whole(data: bytes, head: int) -> None:
    transcript = Transcript(head, 100)
    for byte in data:
        transcript.feed(bytes([byte]))
    transcript.finish()
    assert transcript.text == data.decode("utf-8", "replace")


@given(st.text(min_size=30, max_size=200), st.integers(1, 20), st.integers(4, 9))
def test_a_gap_is_said_once_and_counted(text: str, head: int, tail: int) -> None:
    data = text.encode()
    transcript = Transcript(head, tail)
    for at in range(0, len(data), 7):
        transcript.feed(data[at : at + 7])
    transcript.finish()
    left_out = len(data) - head - tail
    assert transcript.text.count(GAP) == 1
    assert f"[{left_out} bytes were left out]\n" in transcript.text
    assert transcript.text.endswith(data[-tail:].decode("utf-8", "ignore"))


@pytest.mark.parametrize(("output", "shown"), [(b"", "[exit 1]\n"), (b"a", "a\n[exit 1]\n"), (b"a\n", "a\n[exit 1]\n")])
def test_a_note_stands_on_a_line_of_its_own(output: bytes, shown: str) -> None:
    transcript = Transcript(10, 10)
    transcript.feed(output)
    transcript.finish("[exit 1]")
    assert transcript.text == shown


# -- lines -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line), max_size=8), st.integers(1, 9))
def test_lines_do_not_depend_on_how_the_bytes_arrive(lines: list[bytes], step: int) -> None:
    data = b"".join(line + b"\n" for line in lines)
    at_once = LineBuffer(10).feed(data)
    buffer = LineBuffer(10)
    in_pieces = [line for at in range(0, len(data), step) for line in buffer.feed(data[at : at + step])]
    assert in_pieces == at_once
    stripped = [line.removesuffix(b"\r") if len(line) <= 10 else None for line in lines]
    assert at_once == [line for line in stripped if line is None or line.strip()]


def test_an_unending_line_takes_no_memory() -> None:
    buffer = LineBuffer(10)
    for _ in range(1000):
        assert buffer.feed(b"x" * 1000) == []
    assert buffer.feed(b"\n{}\n") == [None, b"{}"]


@given(st.text())
def test_any_text_survives_the_wire_but_for_lone_surrogates(text: str) -> None:
    line = encode({"text": text})
    assert b"\n" not in line
    assert decode(line)["text"] == text.encode("utf-8", "replace").decode()


def test_line_separators_stay_raw() -> None:
    assert encode({"text": "a\u2028b"}) == '{"text":"a\u2028b"}'.encode()


def test_numbers_that_are_no_json_are_not_said() -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode(float("inf"))


# -- bounds ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 50), min_size=1))
def test_the_newest_messages_are_kept_within_the_bound(sizes: list[int]) -> None:
    recent = Recent(100)
    for number, size in enumerate(sizes):
        recent.add(json.dumps([number] * size).encode())
    kept = list(recent)
    assert sum(map(len, kept)) <= 100 or len(kept) == 1
    assert json.loads(kept[-1])[0] == len(sizes) - 1


def test_steering_goes_before_follow_ups_and_each_in_order() -> None:
    pending = Pending()
    pending.follow_up += ["c", "d"]
    pending.steering += ["a", "b"]
    assert [pending.take() for _ in range(5)] == ["a", "b", "c", "d", None]


def test_long_messages_fill_the_queue_before_many_do() -> None:
    pending = Pending()
    pending.steering.append("x" * (4 << 20))
    assert not pending.has_room("y")
