"""What an agent's text may do to a person's terminal: nothing but appear."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_client.cli.escapes import Cleaner, clean, one_line

COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
INGREDIENTS = (
    ["\x1b", "\x1b[", "\x1b]", "\x1bP", "\x1b(", "\x1bc", "\x1b[31m", "\x1b]0;x\x07", "\\", "\x07", "\x9b", "\x9c"],
    ["\r", "\n", "m", "31", ";", "0;t", "2J", "?25h", "B", "a", "é", "\u202e", "\x00"],
)
PARTS = st.lists(st.one_of(*map(st.sampled_from, INGREDIENTS), st.text(max_size=3)), max_size=12)
UNICODE = "naïve 漢字 🎉 e\u0301 \u05e9\u05dc\u05d5\u05dd 👩\u200d💻"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
        ("\x1b[2J\x1b[Hat the top", "at the top"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]52;c;c2VjcmV0\x1b\\text", "text"),
        ("\x1b]8;;http://evil\x1b\\a link\x1b]8;;\x1b\\", "a link"),
        ("\x1bP1$tx\x1b\\text", "text"),
        ("\x1b]no end\nnext line", "\nnext line"),
        ("\x1bcreset\x1b(0charset\x1b7", "resetcharset"),
        ("\x1b[?1049hother screen", "other screen"),
        ("one\rtwo\r\nthree\r", "one\ntwo\nthree\n"),
        ("a\x08b\x07c\x00d\x7f", "a␈b␇c␀d␡"),
        ("c1: \x9b2Jx \x85", "c1: \ufffd2Jx \ufffd"),
        ("a\u202egnp.exe", "a\ufffdgnp.exe"),
        ("\x1b[" + "1" * 100 + "m", "[" + "1" * 100 + "m"),
        (
            "naïve 漢字 🎉 e\u0301 \u05e9\u05dc\u05d5\u05dd 👩\u200d💻",
            "naïve 漢字 🎉 e\u0301 \u05e9\u05dc\u05d5\u05dd 👩\u200d💻",
        ),
    ],
)
def test_text_that_is_shown(said, shown):
    assert clean(said) == shown


@given(PARTS)
def test_nothing_but_text_and_colours_is_left(parts):
    shown = COLOUR.sub("", clean("".join(parts)))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)


@given(PARTS)
def test_where_the_pieces_are_cut_changes_nothing(parts):
    cleaner = Cleaner()
    assert "".join(map(cleaner.feed, parts)) + cleaner.end() == clean("".join(parts))


@given(st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs"))))
def test_text_without_controls_is_left_as_it_is(text):
    assert clean(text) == text


@given(PARTS)
def test_a_field_is_one_line_of_plain_text(parts):
    line = one_line("".join(parts))
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)
    assert line == line.strip()


def test_colours_are_left_out_where_none_are_wanted():
    assert clean("\x1b[31mred\x1b[m", colours=False) == "red"


def test_an_unfinished_sequence_waits_and_is_left_out_at_the_end():
    cleaner = Cleaner()
    assert cleaner.feed("text\x1b[3") == "text"
    assert cleaner.feed("1mred") == "\x1b[31mred"
    assert cleaner.feed("\x1b[1;2") == ""
    assert cleaner.end() == ""
