"""Reads the golden transcripts of real pi, for the tests of its codec and of the fake pi. Only files are touched here.

`tests/golden/pi/<version>/<scenario>.jsonl` has one line per wire line, in the order of the conversation:
`{"dir": ">", "line": ...}` was sent to pi, `{"dir": "<", "line": ...}` was said by it. `record_pi` writes them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

GOLDEN_DIR = Path(__file__).resolve().parents[1] / "golden" / "pi"
NEW = "1.5.2"
OLD = "0.74.2"
VERSIONS = (NEW, OLD)


@dataclass(frozen=True)
class GoldenLine:
    """A line `sent` to pi or said by it; `value` is its JSON, or its text where the wire had none."""

    sent: bool
    value: Any

    @property
    def wire(self) -> bytes:
        """The line as it may go over the wire again, with its LF: compact, and nothing escaped that need not be."""
        text = self.value if isinstance(self.value, str) else json.dumps(self.value, ensure_ascii=False)
        return text.encode() + b"\n"


@cache
def read_golden(version: str, scenario: str) -> tuple[GoldenLine, ...]:
    data = (GOLDEN_DIR / version / f"{scenario}.jsonl").read_bytes()
    lines = [json.loads(line) for line in data.removesuffix(b"\n").split(b"\n")]
    return tuple(GoldenLine(line["dir"] == ">", line["line"]) for line in lines)


def said(version: str, scenario: str, *types: str) -> list[dict[str, Any]]:
    """What pi said in this scenario, of these types only when any is named."""
    lines = [line.value for line in read_golden(version, scenario) if not line.sent]
    return [line for line in lines if not types or line["type"] in types]


def scenarios(version: str) -> list[str]:
    """The names of what is recorded of this version, sorted."""
    return sorted(path.stem for path in (GOLDEN_DIR / version).glob("*.jsonl"))
