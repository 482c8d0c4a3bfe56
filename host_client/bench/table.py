"""A report, or two compared, as aligned text and as Markdown. Pure."""

from collections.abc import Sequence
from typing import Final

from host_client.bench.report import Figure, Machine, Report, shown

HEAD: Final = ("", "p50", "p95", "p99", "max", "unit", "floor", "ratio", "to reach", "")
BUSY: Final = 0.3
"""Load for each core above which others have a part in the figures."""

_MARKS: Final = {True: "✓", False: "✗"}
_LEFT: Final = frozenset({"", "unit", "to reach"})


def text(report: Report) -> str:
    """Give the report for a terminal, some 110 columns wide."""
    notes = [f"{figure.name}: {figure.note}" for figure in report.figures if figure.note]
    notes += [f"floor of {scenes}: {floor}" for floor, scenes in _floors(report).items()]
    notes += [f"skipped: {skipped.scene}: {skipped.reason}" for skipped in report.skipped]
    parts = (aligned(HEAD, rows(report)), notes, _about(report))
    return "\n\n".join("\n".join(part) for part in parts if part)


def markdown(report: Report) -> str:
    """Give the table for a README."""
    lines = [_piped(HEAD), _piped(["---" if title in _LEFT else "--:" for title in HEAD])]
    return "\n".join([*lines, *(_piped(row) for row in rows(report)), "", *_about(report)])


def rows(report: Report) -> list[tuple[str, ...]]:
    """Give a row of text for each figure, in the columns of `HEAD`."""
    return [row(figure) for figure in report.figures]


def row(figure: Figure) -> tuple[str, ...]:
    """Give the row of one figure. Percentiles of rates, and of a single number, say nothing and are left out."""
    spread, unit = figure.spread, figure.unit
    tails = (spread.p95, spread.p99, spread.most) if figure.better == "less" and spread.n > 1 else ()
    return (
        figure.name,
        shown(spread.p50, unit),
        *([shown(value, unit) for value in tails] or ("", "", "")),
        unit,
        shown(figure.floor.p50, unit) if figure.floor else "",
        f"{figure.ratio:.2f} ×" if figure.ratio is not None else "",
        ", ".join(verdict.bar for verdict in figure.verdicts),
        "".join(_MARKS[verdict.met] for verdict in figure.verdicts),
    )


def aligned(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """Align columns; those of numbers to the right. Columns that are empty throughout are left out."""
    used = [number for number in range(len(head)) if any(line[number] for line in lines)]
    widths = {number: max(len(line[number]) for line in (head, *lines)) for number in used}
    return [
        "  ".join(
            line[number].ljust(widths[number]) if head[number] in _LEFT else line[number].rjust(widths[number])
            for number in used
        ).rstrip()
        for line in (head, *lines)
    ]


def named(machine: Machine) -> str:
    """Name a machine in one line."""
    before, after = machine.load
    return (
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_mib / 1024:.0f} GiB, {machine.kernel}, "
        f"{machine.python}, load {before:g} to {after:g}"
    )


def _about(report: Report) -> list[str]:
    how = "quick run, " if report.quick else ""
    lines = [named(report.machine), f"{report.subject}, {report.dialect}, {how}{report.at}, {report.seconds:.0f} s"]
    if report.machine.load[0] > BUSY * report.machine.cores:
        lines.append("The machine was busy before the run: figures are worse than they need be, ratios less so.")
    return lines


def _floors(report: Report) -> dict[str, str]:
    scenes: dict[str, dict[str, None]] = {}
    for figure in report.figures:
        if figure.floor is not None:
            scenes.setdefault(figure.floor_name, {})[figure.scene] = None
    return {floor: ", ".join(names) for floor, names in scenes.items()}


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
