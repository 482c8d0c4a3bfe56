"""Cumulative output to deltas: whatever pi shows, the host can put it together again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskd.agents.pi_tools import ANCHOR_CHARS, MAX_CALLS, ToolBook
from taskd.model.agent import ToolOutput

KEEP = 1 << 18


def outputs(*texts: str, keep: int = KEEP) -> list[ToolOutput | None]:
    book = ToolBook(keep)
    book.started("c", "bash")
    return [book.shows("c", text) for text in texts]


def lines(first: int, last: int) -> str:
    return "\n".join(f"line {number}" for number in range(first, last + 1))


def test_growing_text_is_told_as_it_grows() -> None:
    assert outputs("", "a", "a", "ab", "abc") == [
        None,
        ToolOutput("c", "a"),
        None,
        ToolOutput("c", "b"),
        ToolOutput("c", "c"),
    ]


def test_another_text_replaces_what_was_told() -> None:
    assert outputs("10 %", "20 %")[1] == ToolOutput("c", "20 %", True)


def test_a_shorter_text_replaces_what_was_told() -> None:
    assert outputs("abc", "ab")[1] == ToolOutput("c", "ab", True)


def test_an_empty_text_is_no_news() -> None:
    assert outputs("abc", "")[1] is None


def test_a_window_that_moved_on_is_told_by_what_it_has_gained() -> None:
    told = outputs(
        lines(1, 2000) + "\n", lines(501, 2500), lines(502, 2501), lines(502, 2501) + "\n\n[Showing the end]"
    )
    assert told[1:] == [
        ToolOutput("c", lines(2001, 2500)),
        ToolOutput("c", "\nline 2501"),
        ToolOutput("c", "\n\n[Showing the end]"),
    ]


def test_a_window_that_moved_past_everything_replaces_what_was_told() -> None:
    assert outputs(lines(1, 2000), lines(3001, 5000))[1] == ToolOutput("c", lines(3001, 5000), True)


def test_a_head_that_occurs_earlier_by_chance_is_not_taken_for_the_window() -> None:
    head = "=" * ANCHOR_CHARS
    old = f"{head} one\n{lines(1, 100)}\n{head} two\n{lines(101, 200)}"
    new = f"{head} two\n{lines(101, 250)}"
    assert outputs(old, new)[1] == ToolOutput("c", "\n" + lines(201, 250))


def test_text_above_the_kept_length_is_compared_by_its_end() -> None:
    assert outputs("x" * 50, "x" * 60, "x" * 60 + "y", keep=20)[1:] == [
        ToolOutput("c", "x" * 10),
        ToolOutput("c", "y"),
    ]


def test_a_call_whose_start_was_not_seen_is_told_too() -> None:
    assert ToolBook(KEEP).shows("c", "a") == ToolOutput("c", "a")


def test_calls_beyond_the_bound_are_forgotten_from_the_oldest_on() -> None:
    book = ToolBook(KEEP)
    for number in range(MAX_CALLS + 1):
        book.started(str(number), f"tool {number}")
    assert book.ended("0") == ""
    assert book.ended("1") == "tool 1"


@pytest.mark.parametrize("ending", ["ended", "cleared"])
def test_what_is_over_is_forgotten(ending: str) -> None:
    book = ToolBook(KEEP)
    book.started("c", "bash")
    book.shows("c", "a")
    _ = book.ended("c") if ending == "ended" else book.clear()
    assert book.shows("c", "a") == ToolOutput("c", "a")


@settings(deadline=None)
@given(st.lists(st.text("ab\n", max_size=12), max_size=12), st.sampled_from([4, KEEP]))
def test_the_deltas_put_together_end_like_the_last_text(texts: list[str], keep: int) -> None:
    together = ""
    for told, text in zip(outputs(*texts, keep=keep), texts, strict=True):
        if told is not None:
            together = told.text if told.reset else together + told.text
        assert together.endswith(text[-keep:]) or not text


@settings(deadline=None)
@given(st.lists(st.text("abc\n", min_size=1, max_size=400), max_size=12), st.integers(300, 900))
def test_a_sliding_window_loses_nothing_that_it_showed(pieces: list[str], window: int) -> None:
    stream, together = "", ""
    book = ToolBook(KEEP)
    for piece in pieces:
        stream += piece
        told = book.shows("c", stream[-window:])
        if told is not None:
            together = told.text if told.reset else together + told.text
        assert together.endswith(stream[-window:])
