"""Widths, tables and a live turn, without a terminal."""

import io

from hypothesis import given
from hypothesis import strategies as st

from host_client.cli.live import LiveTurn
from host_client.cli.screen import Screen, cut, width_of
from host_client.cli.table import Cell, Column, show_table
from host_client.notices import Lagged, Reconnected
from taskd.model.events import AgentOutput

COLUMNS = (Column("", least=None), Column("name", least=4), Column("number", right=True), Column("note", least=4))


class Paper(io.StringIO):
    """A stream that may be a terminal of 40 columns."""

    def __init__(self, *, terminal=False):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


class Narrow(Screen):
    width = 40


def table(screen, rows):
    return show_table(screen, COLUMNS, rows)


def test_a_table_is_as_wide_as_its_cells():
    paper = Paper()
    assert table(Screen(paper, {}), [("→", "a", "1", "first"), ("", "bcd", "20", "")]) is False
    assert paper.getvalue() == "   name  number  note\n→  a          1  first\n   bcd       20\n"


def test_an_empty_column_is_left_out():
    paper = Paper()
    table(Screen(paper, {}), [("", "a", "1", "")])
    assert paper.getvalue() == "name  number\na          1\n"


def test_long_texts_share_what_a_terminal_has():
    paper = Paper(terminal=True)
    assert table(Narrow(paper, {"NO_COLOR": "1"}), [("", "n" * 50, "1", "t" * 50), ("", "m", "2", "u")]) is True
    head, long, short, end = paper.getvalue().split("\n")
    assert len(long) == 40
    assert long.count("…") == 2
    assert short.rstrip().endswith("u")
    assert (head.index("note"), end) == (long.index("t"), "")


def test_wide_characters_keep_the_columns():
    paper = Paper()
    table(Screen(paper, {}), [("", "漢字", "1", "x"), ("", "e\u0301", "1", "y")])
    assert paper.getvalue() == "name  number  note\n漢字       1  x\ne\u0301          1  y\n"


@given(st.text(), st.integers(min_value=1, max_value=30))
def test_a_cut_text_fits(text, width):
    short = cut(text, width)
    assert width_of(short) <= max(width, width_of(""))
    assert short == text or short.endswith("…")


def test_styles_are_written_only_where_there_are_colours():
    dull, bright = Paper(), Paper()
    Screen(dull, {}).line("text", "bold red")
    Screen(bright, {"FORCE_COLOR": "1"}).line("text", "bold red")
    assert (dull.getvalue(), bright.getvalue()) == ("text\n", "\x1b[1;31mtext\x1b[0m\n")


def test_a_style_goes_on_after_a_reset_within_its_text():
    screen = Screen(Paper(), {"FORCE_COLOR": "1"})
    assert screen.paint("a\x1b[0mb", "dim") == "\x1b[2ma\x1b[0m\x1b[2mb\x1b[0m"


def test_cells_have_styles():
    paper = Paper()
    table(Screen(paper, {"FORCE_COLOR": "1"}), [("", Cell("a", "green"), "1", "")])
    assert "\x1b[32ma\x1b[0m" in paper.getvalue()


def test_a_hole_in_the_output_is_told():
    out, err = Paper(), Paper()
    live = LiveTurn(Screen(out, {}), Screen(err, {}))
    live.show(AgentOutput(chunk="one"))
    live.show(Lagged(3))
    live.show(Reconnected(same_daemon=True))
    live.end()
    assert out.getvalue() == "one\n"
    assert err.getvalue().count("some output was skipped") == 2


def test_on_a_terminal_asides_begin_a_line_and_a_new_message_does_too():
    paper = Paper(terminal=True)
    screen = Screen(paper, {"NO_COLOR": "1"})
    live = LiveTurn(screen, screen)
    live.show(AgentOutput(chunk="thinking", kind="thinking"))
    live.show(AgentOutput(chunk="answer"))
    live.aside("said about it")
    live.show(AgentOutput(chunk="more\n"))
    live.end()
    assert paper.getvalue() == "thinking\nanswer\nsaid about it\nmore\n"
