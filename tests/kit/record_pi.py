"""Records what real pi says, as golden transcripts: `python -m tests.kit.record_pi [--check] [SCENARIO ...]`.

Writes `tests/golden/pi/<version>/<scenario>.jsonl`, one line per wire line in the order of the conversation:
`{"dir": ">", "line": {...}}` was sent to pi and `{"dir": "<", "line": {...}}` was said by it; `line` is a string where
the wire had no JSON. What differs from run to run is scrubbed (`pi_scrub`). With `--check` nothing is written and the
exit status tells whether pi still speaks like the recordings.

It needs the agents of `make agents`. The codec of pi and the fake pi are tested against these files; they are written
by this program alone, never by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.kit.install_agents import AGENTS_DIR, REPOSITORY
from tests.kit.mock_model import MockModel
from tests.kit.pi_bench import Bench
from tests.kit.pi_goldens import GOLDEN_DIR
from tests.kit.pi_home import PI_NAMES, Missing, PiCommand, find_pi
from tests.kit.pi_scenarios import SCENARIOS
from tests.kit.pi_scrub import Scrubber
from tests.kit.pi_tape import PiTape

GOLDEN_BYTES = 60_000
"""The largest golden file: what is larger has something in it that nobody reads."""

LEFT_OUT = ',"durationMs":1'
"""pi leaves a duration out when it is zero, so a comparison has to do without durations."""


def record(pi: PiCommand, scenario: Callable[[Bench], PiTape]) -> str:
    """The text of the golden file of this scenario, as this pi plays it now.

    :raises AssertionError: pi did not say what the scenario waits for
    """
    with tempfile.TemporaryDirectory() as folder, MockModel() as model:
        root = Path(folder).resolve()
        tape = scenario(Bench(pi, root, model))
    scrubber = Scrubber({str(root): "/bench", str(AGENTS_DIR): "/agents", str(REPOSITORY): "/repository"})
    lines = [{"dir": ">" if line.sent else "<", "line": scrubber.line(line.value)} for line in tape.lines]
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)


def golden_path(pi: PiCommand, scenario: Callable[[Bench], PiTape]) -> Path:
    return GOLDEN_DIR / pi.version / f"{scenario.__name__}.jsonl"


def differs(pi: PiCommand, scenario: Callable[[Bench], PiTape]) -> bool:
    """Whether this pi now says something else in this scenario than its golden file has."""
    path = golden_path(pi, scenario)
    recorded = path.read_text("utf-8") if path.is_file() else ""
    return recorded.replace(LEFT_OUT, "") != record(pi, scenario).replace(LEFT_OUT, "")


def play(pi: PiCommand, scenario: Callable[[Bench], PiTape], check: bool) -> bool:
    """Record one scenario, or compare it with its file; False when it differs or is too large."""
    path = golden_path(pi, scenario)
    shown = path.relative_to(REPOSITORY)
    if check:
        different = differs(pi, scenario)
        print(f"{'DIFFERENT' if different else 'same'}: {shown}", flush=True)
        return not different
    text = record(pi, scenario)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    print(f"{len(text):6} bytes: {shown}", flush=True)
    return len(text) <= GOLDEN_BYTES


def main(argv: Sequence[str] | None = None) -> int:
    by_name = {scenario.__name__: scenario for scenario in SCENARIOS}
    parser = argparse.ArgumentParser(prog="record_pi", description="Record golden transcripts of real pi.")
    parser.add_argument("scenarios", nargs="*", help="which to record (all)")
    parser.add_argument("--pi", choices=PI_NAMES, help="one version only")
    parser.add_argument("--check", action="store_true", help="compare with the recordings and write nothing")
    options = parser.parse_args(argv)
    if unknown := sorted(set(options.scenarios) - by_name.keys()):
        parser.error(f"no such scenario: {', '.join(unknown)} (there are {', '.join(by_name)})")
    good = True
    for name in [options.pi] if options.pi else PI_NAMES:
        pi = find_pi(name)
        if isinstance(pi, Missing):
            print(f"record_pi: {pi.reason}", file=sys.stderr)
            return 1
        for scenario in options.scenarios or by_name:
            good &= play(pi, by_name[scenario], options.check)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
