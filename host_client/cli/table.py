"""A table of text, fitted to the width of a terminal by shortening the columns that may be shortened. Pure."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from host_client.cli.screen import Screen, cut, width_of

GAP: Final = "  "

MAX_WIDTH: Final = 1 << 20
"""No column is as wide."""


class Column(NamedTuple):
    """One column. `least` is how far it may be shortened; None means not at all."""

    title: str
    right: bool = False
    least: int | None = None


class Cell(NamedTuple):
    """A text with a style."""

    text: str
    style: str = ""


def show_table(screen: Screen, columns: Sequence[Column], rows: Sequence[Sequence[str | Cell]]) -> bool:
    """Write a table; columns that are empty throughout are left out. Give whether something had to be shortened.

    Cells must be single lines (`one_line`).
    """
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    used = [number for number in range(len(columns)) if any(row[number].text for row in cells)]
    columns = [columns[number] for number in used]
    cells = [[row[number] for number in used] for row in cells]
    wanted = _wanted(columns, cells)
    widths = _fit(columns, wanted, screen.width)
    for row in ([Cell(column.title, "dim") for column in columns], *cells):
        screen.line(_line(screen, columns, widths, row))
    return widths != wanted


def _wanted(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> list[int]:
    return [
        max(width_of(column.title), *(width_of(row[number].text) for row in rows)) if rows else width_of(column.title)
        for number, column in enumerate(columns)
    ]


def _fit(columns: Sequence[Column], wanted: list[int], width: int | None) -> list[int]:
    widths = list(wanted)
    if width is None:
        return widths
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - width
    for _ in range(excess):
        # One column of the terminal at a time from the widest: long texts share what there is.
        room = [(widths[number], number) for number, column in enumerate(columns) if widths[number] > _least(column)]
        if not room:
            break
        widths[max(room)[1]] -= 1
    return widths


def _least(column: Column) -> int:
    return MAX_WIDTH if column.least is None else column.least


def _line(screen: Screen, columns: Sequence[Column], widths: list[int], row: Sequence[Cell]) -> str:
    parts = []
    for column, width, cell in zip(columns, widths, row, strict=True):
        text = cut(cell.text, width)
        padding = " " * (width - width_of(text))
        painted = screen.paint(text, cell.style)
        parts.append(padding + painted if column.right else painted + padding)
    return GAP.join(parts).rstrip()
