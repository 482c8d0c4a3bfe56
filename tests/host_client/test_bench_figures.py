"""Samples to numbers, numbers to verdicts, reports to text, JSON and a page. Nothing is measured here."""

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from host_client.bench.bars import BARS, judged
from host_client.bench.bench import figure
from host_client.bench.compare import compare, verdict
from host_client.bench.page import page, write_page
from host_client.bench.probe import BenchError
from host_client.bench.report import Figure, Machine, Report, Skipped, read_report, shown, write_report
from host_client.bench.spread import alternate, percentile, ratio, spread, thinned
from host_client.bench.table import markdown, text

SWITCHES = [0.1, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.2]


def switches(scale: float = 1.0, **more: object) -> Figure:
    floor = {"floor": spread([0.05]), "floor_name": "echo floor", "ratio": 2.0}
    return judged(figure("switch", "switch: 10 tasks", "ms", [one * scale for one in SWITCHES], **floor | more))


def rate(value: float) -> Figure:
    return judged(figure("stream", "stream: 100 B deltas", "deltas/s", [value, value * 2], better="more"))


def report(*figures: Figure, load: float = 0.1) -> Report:
    return Report(
        subject="a daemon of its own",
        dialect="jsonrpc",
        at="2026-11-21T01:02:03Z",
        quick=False,
        seconds=61.2,
        machine=Machine("A <fast> CPU", 2, 4096, "Linux 6.1", "CPython 3.11.7", (load, 1.2)),
        figures=figures,
        skipped=(Skipped("start", "no `node` here"),),
    )


def test_percentiles_are_numbers_that_were_measured() -> None:
    found = spread([3.0, 1.0, 2.0])

    assert (found.n, found.least, found.p50, found.p95, found.most) == (3, 1.0, 2.0, 3.0, 3.0)
    assert percentile(list(range(1, 101)), 0.95) == 95
    assert percentile([4.0], 0.99) == 4.0


def test_thinned_samples_keep_both_ends() -> None:
    kept = thinned([float(value) for value in range(1000, 0, -1)], 10)

    assert len(kept) == 10
    assert (kept[0], kept[-1]) == (1.0, 1000.0)
    assert kept == tuple(sorted(kept))


def test_measures_take_turns_in_changing_order() -> None:
    order: list[str] = []

    def measure(name: str):  # type: ignore[no-untyped-def]
        return lambda number: order.append(f"{name}{number}") or float(number)

    rounds = alternate(2, 2, measure("a"), measure("b"))

    assert order == ["b0", "b1", "a0", "a1", "a2", "a3", "b2", "b3"]
    assert rounds == [[[0.0, 1.0], [2.0, 3.0]], [[0.0, 1.0], [2.0, 3.0]]]


def test_a_ratio_is_not_moved_by_one_disturbed_round() -> None:
    assert ratio([[2.0], [2.2], [90.0]], [[1.0], [1.0], [1.0]]) == 2.2


def test_a_bar_is_of_the_figure_or_of_its_floor() -> None:
    verdicts = switches().verdicts

    assert [(one.bar, one.met) for one in verdicts] == [("≤ 2.5 × echo floor", True), ("p95 ≤ 0.500 ms", True)]
    assert [one.met for one in switches(ratio=2.6).verdicts] == [False, True]
    assert [one.met for one in switches(3).verdicts] == [True, False]


def test_where_more_is_better_the_bar_is_a_least_value() -> None:
    assert [one.met for one in rate(400_000).verdicts] == [True]
    assert [one.met for one in rate(399_999).verdicts] == [False]


def test_a_figure_without_a_floor_is_not_judged_by_one() -> None:
    assert [one.bar for one in switches(floor=None, ratio=None).verdicts] == ["p95 ≤ 0.500 ms"]


def test_every_bar_has_a_scene_that_reaches_for_it() -> None:
    scenes = "".join(path.read_text() for path in (Path(__file__).parents[2] / "host_client/bench/scenes").glob("*.py"))

    for name in BARS:
        shape = re.sub(r"[0-9]+ tasks", "{count} tasks", name).replace("resume: above", "{scene}: above")
        shape = re.sub(r"stream: .*", "stream: {kind.name}", shape) if name.startswith("stream") else shape
        shape = shape.replace("last output", "last output{how}")
        assert shape in scenes, f"no scene gives {name!r}, so its bar is never looked at"


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [(0.1234, "ms", "0.123"), (12.345, "ms", "12.3"), (1234.5, "ms", "1,234"), (412345.6, "deltas/s", "412,346")],
)
def test_numbers_are_shown_with_the_digits_that_they_are_worth(value: float, unit: str, expected: str) -> None:
    assert shown(value, unit) == expected


def test_the_table_is_aligned_and_names_machine_floor_and_what_was_skipped() -> None:
    told = text(report(switches(), rate(500_000)))

    head, first, second, *_ = told.split("\n")
    assert head.index("unit") == first.index("ms") == second.index("deltas/s")
    assert "0.130" in first
    assert "2.00 ×" in first
    assert first.endswith("✓✓")
    assert "floor of switch: echo floor" in told
    assert "skipped: start: no `node` here" in told
    assert "A <fast> CPU, 2 cores, 4 GiB, Linux 6.1, CPython 3.11.7, load 0.1 to 1.2" in told
    assert "busy" not in told


def test_a_busy_machine_is_told() -> None:
    assert "The machine was busy" in text(report(switches(), load=1.9))


def test_tails_of_rates_and_of_single_numbers_are_left_out() -> None:
    told = text(report(rate(500_000), figure("memory", "memory: idle", "MiB", [26.0])))

    assert "p95" not in told.split("\n")[0]
    assert "1,000,000" not in told


def test_markdown_has_a_cell_for_each_column() -> None:
    lines = [line for line in markdown(report(switches())).split("\n") if line.startswith("|")]

    assert len(lines) == 3
    assert len({line.count("|") for line in lines}) == 1


def test_a_report_comes_back_from_its_file(tmp_path: Path) -> None:
    written = report(switches(), rate(500_000))

    write_report(written, tmp_path / "a.json")

    assert read_report(tmp_path / "a.json") == written


@pytest.mark.parametrize("content", ["", "[]", '{"format":"other"}'])
def test_what_is_no_report_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)

    with pytest.raises(BenchError, match="no report"):
        read_report(tmp_path / "a.json")


def test_a_report_of_another_version_is_refused(tmp_path: Path) -> None:
    write_report(replace(report(), version=99), tmp_path / "a.json")

    with pytest.raises(BenchError, match="another version"):
        read_report(tmp_path / "a.json")


def test_a_comparison_tells_better_worse_and_noise() -> None:
    assert verdict(switches(), switches(1.05)) == "noise"
    assert verdict(switches(), switches(3)) == "WORSE"
    assert verdict(switches(3), switches()) == "better"
    assert verdict(rate(400_000), rate(420_000)) == "noise"
    assert verdict(rate(400_000), rate(800_000)) == "better"
    assert verdict(rate(400_000), rate(100_000)) == "WORSE"


def test_a_comparison_names_what_only_one_report_has_and_other_machines() -> None:
    first = report(switches(), rate(400_000))
    other = replace(report(switches(3)), machine=Machine("Another", 8, 1, "Linux", "CPython 3.13", (0.0, 0.0)))

    told = compare(first, other)

    assert re.search(r"switch: 10 tasks +0\.130 +0\.390 +ms +3\.00 × +WORSE", told)
    assert "only in the first: stream: 100 B deltas" in told
    assert "not the same machine" in told


def test_the_page_needs_nothing_besides_itself(tmp_path: Path) -> None:
    write_page(report(switches(), rate(500_000)), tmp_path / "page.html")

    html = (tmp_path / "page.html").read_text()
    assert html.count("<svg") == 3
    assert "<script" not in html
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", html)
    assert "A &lt;fast&gt; CPU" in html
    assert "no `node` here" in html


def test_the_same_report_gives_the_same_page(tmp_path: Path) -> None:
    pages = [tmp_path / "a.html", tmp_path / "b.html"]
    for path in pages:
        write_page(report(switches()), path)

    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_a_report_without_figures_has_a_page_too() -> None:
    assert "Not measured" in page(report(), [])
