"""The plots of the page, as SVG text. The only file that needs matplotlib (extra `bench`)."""

import io
import re
from collections.abc import Sequence
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from host_client.bench.report import Figure, Report, shown

INK, GRID, OURS, FLOOR, BAR = "#333333", "#dddddd", "#2f6f9f", "#b0b0b0", "#c0392b"
SHADES: Final = ("#9ecae1", "#4292c6", "#08519c", "#08306b", "#041e40")
STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "taskd-bench",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
}


def plots(report: Report) -> list[tuple[str, str]]:
    """Give titles and SVGs; a plot for which there are no figures is left out."""
    makers = (
        ("Warm switch: share of switches done within a time", _switches),
        ("Latencies: p50, p95, p99 and the slowest", _latencies),
        ("Streams to one host", _streams),
        ("Start", _starts),
    )
    with rc_context(STYLE):
        drawn = [(title, maker(report)) for title, maker in makers]
        return [(title, _svg(canvas)) for title, canvas in drawn if canvas is not None]


def _switches(report: Report) -> Canvas | None:
    figures = [figure for figure in report.figures if figure.name.startswith("switch: ") and figure.samples]
    figures = [figure for figure in figures if figure.name.endswith("tasks")]
    if not figures:
        return None
    canvas, axes = _canvas(3.4)
    for figure, shade in zip(figures, SHADES, strict=False):
        _steps(axes, figure.samples, shade, figure.name.removeprefix("switch: "))
    floor = figures[0].floor
    if floor is not None:
        axes.axvline(floor.p50, color=FLOOR, linewidth=2, label=f"{figures[0].floor_name}, p50")
        axes.axvline(2.5 * floor.p50, color=BAR, linewidth=1, linestyle="--", label="2.5 × the floor")
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds, request to task_ready")
    axes.set_ylabel("share")
    axes.set_ylim(0, 1.01)
    _plain_log(axes)
    axes.legend(frameon=False, loc="lower right")
    return canvas


def _latencies(report: Report) -> Canvas | None:
    figures = [
        figure
        for figure in report.figures
        if figure.unit == "ms" and figure.scene != "start" and figure.spread.n > 1 and figure.spread.least > 0
    ]
    if not figures:
        return None
    canvas, axes = _canvas(0.9 + 0.27 * len(figures))
    for y, figure in enumerate(reversed(figures)):
        spread = figure.spread
        axes.plot([spread.p50, spread.most], [y, y], color=GRID, linewidth=5, solid_capstyle="round", zorder=1)
        for value, shade in zip((spread.p50, spread.p95, spread.p99, spread.most), SHADES[3::-1], strict=True):
            axes.plot(value, y, "o", color=shade, markersize=5)
        if figure.floor is not None:
            axes.plot(figure.floor.p50, y, "|", color=BAR, markersize=11, markeredgewidth=1.6)
    axes.set_yticks(range(len(figures)), [figure.name for figure in reversed(figures)])
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds; dark to light: p50, p95, p99, slowest; red tick: the floor's p50")
    _plain_log(axes)
    return canvas


def _streams(report: Report) -> Canvas | None:
    return _rates([figure for figure in report.figures if figure.better == "more"], "deltas per second")


def _starts(report: Report) -> Canvas | None:
    figures = [figure for figure in report.figures if figure.scene == "start"]
    return _rates(figures, "milliseconds") if figures else None


def _rates(figures: Sequence[Figure], label: str) -> Canvas | None:
    """Draw a point for each figure, grey for what was measured beside it, red for what is to be reached."""
    if not figures:
        return None
    canvas, axes = _canvas(0.9 + 0.36 * len(figures))
    for y, figure in enumerate(reversed(figures)):
        axes.plot([figure.spread.least, figure.spread.most], [y, y], color=SHADES[0], linewidth=5, zorder=2)
        axes.plot(figure.spread.p50, y, "o", color=OURS, markersize=8, zorder=3)
        axes.text(1.01, y, shown(figure.spread.p50, figure.unit), transform=axes.get_yaxis_transform(), va="center")
        if figure.floor is not None:
            axes.plot([figure.floor.p50] * 2, [y - 0.3, y + 0.3], color=FLOOR, linewidth=3)
        for bound in _bounds(figure):
            axes.plot([bound] * 2, [y - 0.3, y + 0.3], color=BAR, linewidth=1.6)
    axes.set_yticks(range(len(figures)), [figure.name for figure in reversed(figures)])
    axes.set_ylim(-0.6, len(figures) - 0.4)
    if label.startswith("deltas"):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    else:
        axes.set_xlim(left=0)
    axes.set_xlabel(f"{label}; red: to reach; grey: beside it ({_beside(figures)})" if _beside(figures) else label)
    return canvas


def _beside(figures: Sequence[Figure]) -> str:
    return ", ".join(dict.fromkeys(figure.floor_name for figure in figures if figure.floor_name))


def _bounds(figure: Figure) -> list[float]:
    """Give the bars that are numbers of the figure's own unit."""
    found = (re.match(r"p50 [≤≥] ([0-9,.]+) ", verdict.bar) for verdict in figure.verdicts)
    return [float(match[1].replace(",", "")) for match in found if match]


def _canvas(height: float) -> tuple[Canvas, Axes]:
    canvas = Canvas(figsize=(8.6, height), layout="constrained")
    axes = canvas.add_subplot()
    axes.grid(axis="x")
    return canvas, axes


def _steps(axes: Axes, samples: Sequence[float], color: str, label: str) -> None:
    shares = [number / len(samples) for number in range(1, len(samples) + 1)]
    axes.step(samples, shares, where="post", color=color, label=label, linewidth=1.6)


def _plain_log(axes: Any) -> None:
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _svg(canvas: Canvas) -> str:
    """Give the bare `<svg>` element, without XML's own head."""
    out = io.StringIO()
    canvas.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue().partition("<svg")[1] + out.getvalue().partition("<svg")[2]
