"""A bench for real pi: one process, one mock model, one folder, and the words that a scenario is written in.

Nothing here depends on speed: `delta` and `output` wait for what pi says, a reply waits at a gate of the mock model and
a tool waits for a file (`until`, `Bench.allow`). Every wait is bounded by the tape's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.kit.mock_model import MockModel
from tests.kit.pi_home import PiCommand, PiHome
from tests.kit.pi_tape import PiTape

OLD_DIALECT = "pi-0.74"
LOOK_EVERY_S = 0.02
"""How often a recorded tool looks whether it may go on; it looks in its own process, no test waits for it."""


class Bench:
    """One pi, one mock model and one folder for a scenario."""

    def __init__(self, pi: PiCommand, root: Path, model: MockModel) -> None:
        self.pi = pi
        self.root = root
        self.model = model
        self.work = root / "work"
        self.session = root / "session.jsonl"
        self.work.mkdir()

    def start(
        self,
        *,
        session: Path | None = None,
        extensions: Sequence[Path] = (),
        settings: Mapping[str, object] | None = None,
    ) -> PiTape:
        home = PiHome(self.root, self.model.base_url, settings=settings)
        argv = self.pi.rpc(session=session or self.session, extensions=extensions)
        return PiTape(argv, env=home.env, cwd=self.work)

    def settle(self, tape: PiTape, *answers: Mapping[str, Any]) -> None:
        """Read until the run is over and these answers have come, in any order."""
        over = "agent_end" if self.pi.name == OLD_DIALECT else "agent_settled"
        tape.expect_all({"type": over}, *answers)

    def allow(self, name: str) -> None:
        (self.work / name).touch()


def prompt(tape: PiTape, *script: str, **fields: str) -> None:
    tape.send({"id": "p1", "type": "prompt", "message": "\n".join(script), **fields})


def bash(*commands: str) -> str:
    return f"@tool bash {json.dumps({'command': '; '.join(commands)})}"


def until(name: str) -> str:
    """A shell command that waits for a file in the working folder."""
    return f"until [ -e {name} ]; do sleep {LOOK_EVERY_S}; done"


def delta(tape: PiTape, text: str) -> None:
    tape.expect_that(f"the delta {text!r}", lambda line: line.get("assistantMessageEvent", {}).get("delta") == text)


def output(tape: PiTape, text: str) -> None:
    """Wait until the output of a running tool ends with `text`."""

    def shows(line: dict[str, Any]) -> bool:
        content = line.get("partialResult", {}).get("content", [])
        return any(part["text"].rstrip().endswith(text) for part in content)

    tape.expect_that(f"tool output {text!r}", shows)


def answer(tape: PiTape, method: str, **reply: object) -> None:
    asked = tape.expect(type="extension_ui_request", method=method)
    tape.send({"type": "extension_ui_response", "id": asked["id"], **reply})
