"""The two ends of text for people: standard output for what was asked for, standard error for what is said about it.

Colours are used on a terminal, unless `NO_COLOR` is set or `TERM` is dumb, and elsewhere if `FORCE_COLOR` is set. They
are the terminal's own sixteen, in foreground only, so that its theme decides what they look like; nothing is told by
colour alone.
"""

import os
import sys
import unicodedata
from collections.abc import Mapping
from textwrap import wrap
from typing import Final, TextIO

from host_client.cli.escapes import Cleaner, clean

_CODES: Final = {
    "bold": "1",
    "dim": "2",
    "italic": "3",
    "red": "31",
    "green": "32",
    "magenta": "35",
    "cyan": "36",
}
RESET: Final = "\x1b[0m"
ELLIPSIS: Final = "…"

USUAL_WIDTH: Final = 80
"""Columns of a terminal that does not say how many it has."""

LEAST_WIDTH: Final = 20
"""Text is not squeezed into fewer columns."""


class Screen:
    """Standard output or standard error.

    Attributes:
        is_terminal: whether a person reads it; an agent's text is cleaned there.
        colour: whether colours are written.
        fresh: whether the next character begins a line.
    """

    def __init__(self, stream: TextIO, environ: Mapping[str, str] = os.environ) -> None:
        self.is_terminal = stream.isatty()
        self.colour = _wants_colour(self.is_terminal, environ)
        self.fresh = True
        self._stream = stream

    @property
    def width(self) -> int | None:
        """Columns of the terminal; None where lines may be as long as they like."""
        if not self.is_terminal:
            return None
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError):
            columns = 0
        # A terminal that was never told its size says 0.
        return max(columns, LEAST_WIDTH) if columns else USUAL_WIDTH

    def wrap(self, text: str, indent: int = 0) -> list[str]:
        """Give a line of text as lines that fit behind so many columns; words are not torn."""
        width = self.width
        if width is None:
            return [text]
        return wrap(text, max(width - indent, LEAST_WIDTH), break_on_hyphens=False) or [""]

    def line(self, text: str = "", style: str = "") -> None:
        """Write a line of our own words; what comes from a guest must have passed `one_line` or `shown`."""
        self.write(self.paint(text, style) + "\n")

    def paragraph(self, text: str, style: str = "") -> None:
        """Write a line as `line` does; what is too long goes on below, behind the same indent."""
        words = text.lstrip(" ")
        indent = len(text) - len(words)
        for part in self.wrap(words, indent):
            self.line(" " * indent + part, style)

    def write(self, text: str) -> None:
        """Write text as it is, at once."""
        if text:
            self._stream.write(text)
            self._stream.flush()
            if visible := text.removesuffix(RESET):
                self.fresh = visible.endswith("\n")

    def paint(self, text: str, style: str) -> str:
        """Give the text with a style such as `bold red`."""
        if not (style and self.colour and text):
            return text
        codes = ";".join(_CODES[word] for word in style.split())
        # A reset inside the text ends our style too, so it begins again after each.
        return f"\x1b[{codes}m{text.replace(RESET, RESET + f'{chr(27)}[{codes}m')}{RESET}"

    def shown(self, text: str) -> str:
        """Give a whole text of an agent as it may be written here."""
        if not self.is_terminal:
            return text
        text = clean(text, colours=self.colour)
        return text + RESET if "\x1b" in text else text

    def cleaner(self) -> Cleaner | None:
        """Give what cleans an agent's text for this end; None where it is written as it is."""
        return Cleaner(colours=self.colour) if self.is_terminal else None


def out() -> Screen:
    """Give standard output."""
    return Screen(sys.stdout)


def err() -> Screen:
    """Give standard error."""
    return Screen(sys.stderr)


def width_of(text: str) -> int:
    """Count the columns that a text takes: two for East Asian wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(_width(character) for character in text)


def cut(text: str, width: int) -> str:
    """Shorten a text to so many columns, with an ellipsis where something was left out."""
    if width_of(text) <= width:
        return text
    room = max(width, 1) - 1
    kept = 0
    for end, character in enumerate(text):
        kept += _width(character)
        if kept > room:
            return text[:end].rstrip() + ELLIPSIS
    return text


def _width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _wants_colour(is_terminal: bool, environ: Mapping[str, str]) -> bool:
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return is_terminal and environ.get("TERM") != "dumb"
