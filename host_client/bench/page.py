"""A report as one page of HTML that needs nothing besides itself: machine, plots, table, and what was skipped."""

from html import escape
from pathlib import Path
from typing import Final

from host_client.bench.probe import BenchError
from host_client.bench.report import Figure, Report
from host_client.bench.table import HEAD, named, row

_NUMBERS: Final = frozenset({"p50", "p95", "p99", "max", "floor", "ratio"})
_STYLE: Final = """\
body { font: 15px/1.5 system-ui, sans-serif; color: #333; max-width: 62em; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.5em; margin-bottom: 0 } h2 { font-size: 1.1em; margin-top: 2em }
table { border-collapse: collapse; font-size: 0.9em; width: 100% }
th, td { padding: 0.2em 0.6em; text-align: left; border-bottom: 1px solid #ddd; vertical-align: top }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.met { color: #1e7d34 } .missed { color: #c0392b; font-weight: bold } .about { color: #666; margin-top: 0 }
td small { color: #666; display: block } svg { width: 100%; height: auto }
@media (prefers-color-scheme: dark) { body { background: #fff } }
"""


def write_page(report: Report, path: Path) -> None:
    """Write the page.

    Raises:
        BenchError: matplotlib is not installed.
    """
    try:
        from host_client.bench.plots import plots
    except ModuleNotFoundError as error:
        raise BenchError(f"the page needs {error.name}: pip install 'taskd[bench]'") from error
    path.write_text(page(report, plots(report)), encoding="utf-8")


def page(report: Report, drawn: list[tuple[str, str]]) -> str:
    """Give the page; `drawn` are titles and SVGs, which are taken as they are."""
    sections = [f"<section><h2>{escape(title)}</h2>{svg}</section>" for title, svg in drawn]
    return "\n".join(
        [
            '<!doctype html><html lang="en"><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width"><title>taskd: measurements</title>',
            f"<style>{_STYLE}</style>",
            "<h1>What a host sees of taskd</h1>",
            f'<p class="about">{escape(named(report.machine))}<br>{escape(_about(report))}</p>',
            *sections,
            "<h2>All figures</h2>",
            _table(report),
            _skipped(report),
            "</html>\n",
        ]
    )


def _about(report: Report) -> str:
    how = ", a quick run" if report.quick else ""
    return f"{report.subject}, {report.dialect}, {report.at}{how}, {report.seconds:.0f} s"


def _table(report: Report) -> str:
    head = "".join(f'<th class="{_class(title)}">{escape(title)}</th>' for title in HEAD)
    return f"<table><tr>{head}</tr>{''.join(_row(figure) for figure in report.figures)}</table>"


def _row(figure: Figure) -> str:
    *cells, _, _ = row(figure)
    note = ". ".join(filter(None, (f"floor: {figure.floor_name}" if figure.floor_name else "", figure.note)))
    first = f"<td>{escape(cells[0])}{f'<small>{escape(note)}</small>' if note else ''}</td>"
    middle = [
        f'<td class="{_class(title)}">{escape(cell)}</td>' for title, cell in zip(HEAD[1:-2], cells[1:], strict=True)
    ]
    verdicts = [
        f'<div class="{"met" if verdict.met else "missed"}">{escape(verdict.bar)} {"✓" if verdict.met else "✗"}</div>'
        for verdict in figure.verdicts
    ]
    return f"<tr>{first}{''.join(middle)}<td colspan=2>{''.join(verdicts)}</td></tr>"


def _skipped(report: Report) -> str:
    if not report.skipped:
        return ""
    items = "".join(f"<li>{escape(one.scene)}: {escape(one.reason)}</li>" for one in report.skipped)
    return f"<h2>Not measured</h2><ul>{items}</ul>"


def _class(title: str) -> str:
    return "number" if title in _NUMBERS else ""
