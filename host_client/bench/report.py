"""What was measured, as data: the form of `--json`, and the same for people in `table` and `page`.

A report stands for itself: it names the machine, what was measured, what was skipped and why. Figures are known again
by `name`, so that two reports can be compared.
"""

import math
from pathlib import Path
from typing import Final

import msgspec

from host_client.bench.probe import BenchError
from host_client.bench.spread import Spread

FORMAT: Final = "taskd-bench"
VERSION: Final = 1


class Machine(msgspec.Struct, frozen=True, rename="camel"):
    """Where it was measured. `load` is the load average of a minute, before and after the run."""

    cpu: str
    cores: int
    memory_mib: int
    kernel: str
    python: str
    load: tuple[float, float]


class Verdict(msgspec.Struct, frozen=True):
    """A bar, in words, and whether it was reached."""

    bar: str
    met: bool


class Figure(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One thing that was measured. `unit` is that of all its numbers, `better` is less or more.

    `floor` is what was measured beside it as the least that is possible, `floor_name` what that is, `ratio` how many
    times the floor the figure is.
    """

    scene: str
    name: str
    unit: str
    spread: Spread
    better: str = "less"
    floor: Spread | None = None
    floor_name: str = ""
    ratio: float | None = None
    note: str = ""
    samples: tuple[float, ...] = ()
    verdicts: tuple[Verdict, ...] = ()


class Skipped(msgspec.Struct, frozen=True):
    """What was not measured, and why."""

    scene: str
    reason: str


class Report(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One run."""

    format: str = FORMAT
    version: int = VERSION
    subject: str
    dialect: str
    at: str
    quick: bool
    seconds: float
    machine: Machine
    figures: tuple[Figure, ...]
    skipped: tuple[Skipped, ...]

    def missed(self) -> list[Figure]:
        """Give the figures that missed a bar."""
        return [figure for figure in self.figures if not all(verdict.met for verdict in figure.verdicts)]


def write_report(report: Report, path: Path) -> None:
    """Write a report as JSON, for people too."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def read_report(path: Path) -> Report:
    """Read a report.

    Raises:
        BenchError: the file is none, or of another version.
    """
    try:
        report = msgspec.json.decode(path.read_bytes(), type=Report)
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise BenchError(f"{path} is no report of this harness: {error}") from error
    if (report.format, report.version) != (FORMAT, VERSION):
        raise BenchError(f"{path} is a report of another version ({report.format} {report.version})")
    return report


def shown(value: float, unit: str) -> str:
    """Give a number with as many digits as it is worth."""
    if not value or not math.isfinite(value):
        return "0"
    if unit.endswith("/s") and value >= 1000:
        return f"{value:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 3)}f}"
