"""What is to be reached, by the name of a figure, and the judgement. Pure.

A bar bounds one number of a figure: by itself, or as a multiple of the floor that was measured beside it. Numbers that
depend on the machine (milliseconds, deltas per second) are those of a machine with two cores; the ratios hold anywhere.
"""

from typing import Final, NamedTuple

from msgspec.structs import replace

from host_client.bench.report import Figure, Verdict, shown


class Bar(NamedTuple):
    """`of` is a field of `Spread`, or `ratio`; the bound is a greatest value, or a least one where more is better."""

    of: str
    bound: float


BARS: Final[dict[str, tuple[Bar, ...]]] = {
    "start: exec to accept": (Bar("ratio", 1.2),),
    "memory: idle": (Bar("p50", 30.0),),
    "memory: 50 tasks": (Bar("p50", 40.0),),
    **{f"switch: {count} tasks": (Bar("ratio", 2.5), Bar("p95", 0.5)) for count in (2, 10, 50, 200, 500)},
    "turn: to the last output": (Bar("p50", 0.5),),
    "stream: 100 B deltas": (Bar("p50", 400_000),),
    "stream: 4 KiB deltas": (Bar("p50", 90_000),),
    "stream: growing partials": (Bar("p50", 5_000),),
    "resume: above the agent's start": (Bar("p50", 15.0),),
    "stop: to task_stopped": (Bar("most", 1000.0),),
}


def judged(figure: Figure) -> Figure:
    """Give the figure with its verdicts."""
    verdicts = tuple(_verdict(figure, bar) for bar in BARS.get(figure.name, ()))
    return replace(figure, verdicts=tuple(verdict for verdict in verdicts if verdict is not None))


def _verdict(figure: Figure, bar: Bar) -> Verdict | None:
    value = figure.ratio if bar.of == "ratio" else getattr(figure.spread, bar.of)
    if value is None:
        return None
    more = figure.better == "more"
    met = value >= bar.bound if more else value <= bar.bound
    sign = "≥" if more else "≤"
    if bar.of == "ratio":
        return Verdict(f"{sign} {bar.bound:g} × {figure.floor_name}", met)
    return Verdict(f"{bar.of} {sign} {shown(bar.bound, figure.unit)} {figure.unit}", met)
