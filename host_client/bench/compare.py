"""Two reports side by side: what became faster or slower, and what is only noise. Pure.

The ratio is the second over the first. A difference counts as noise when the middle halves of the samples overlap, or,
where there are too few samples for halves, when it is below a tenth.
"""

from typing import Final

from host_client.bench.report import Figure, Report, shown
from host_client.bench.spread import percentile
from host_client.bench.table import aligned, named

FEW: Final = 8
"""Samples below which there are no halves worth the name."""
SMALL: Final = 0.1

HEAD: Final = ("", "first", "second", "unit", "ratio", "verdict")


def compare(first: Report, second: Report) -> str:
    """Give the table."""
    before = {figure.name: figure for figure in first.figures}
    lines = [_row(before[after.name], after) for after in second.figures if after.name in before]
    return "\n".join([*aligned(HEAD, lines), "", *_about(first, second)])


def verdict(before: Figure, after: Figure) -> str:
    """Say better, worse or noise."""
    if is_noise(before, after):
        return "noise"
    more = after.spread.p50 > before.spread.p50
    return "better" if more == (after.better == "more") else "WORSE"


def is_noise(before: Figure, after: Figure) -> bool:
    """Say whether the difference may be chance."""
    if min(before.spread.n, after.spread.n) < FEW:
        return abs(after.spread.p50 - before.spread.p50) <= SMALL * abs(before.spread.p50)
    low, high = _middle(before)
    lowest, highest = _middle(after)
    return low <= highest and lowest <= high


def _middle(figure: Figure) -> tuple[float, float]:
    return percentile(figure.samples, 0.25), percentile(figure.samples, 0.75)


def _row(before: Figure, after: Figure) -> tuple[str, ...]:
    first, second, unit = before.spread.p50, after.spread.p50, after.unit
    ratio = f"{second / first:.2f} ×" if first else ""
    return after.name, shown(first, unit), shown(second, unit), unit, ratio, verdict(before, after)


def _about(first: Report, second: Report) -> list[str]:
    both = {"first": first, "second": second}
    names = {which: {figure.name for figure in report.figures} for which, report in both.items()}
    lines = [f"{which}: {report.subject}, {report.dialect}, {report.at}" for which, report in both.items()]
    for which, other in (("first", "second"), ("second", "first")):
        if alone := sorted(names[which] - names[other]):
            lines.append(f"only in the {which}: {', '.join(alone)}")
    if _place(first) != _place(second):
        lines.append(f"not the same machine: {named(first.machine)} | {named(second.machine)}")
    return lines


def _place(report: Report) -> tuple[str, int, str]:
    return report.machine.cpu, report.machine.cores, report.machine.python
