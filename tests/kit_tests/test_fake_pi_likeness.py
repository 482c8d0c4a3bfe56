"""The fake pi says what real pi says: every recorded conversation is held again with it and compared by shape."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kit.fake_pi import PROGRAM
from tests.kit.fake_pi_shapes import conversation
from tests.kit.pi_bench import OLD_DIALECT, Bench
from tests.kit.pi_goldens import OLD, VERSIONS, read_golden
from tests.kit.pi_home import PiCommand
from tests.kit.pi_scenarios import SCENARIOS


class Gates:
    """The mock model's gates, as the files that the fake waits for."""

    base_url = "http://127.0.0.1:1/v1"

    def __init__(self, work: Path) -> None:
        self._work = work

    def gate(self, name: str) -> "Gate":
        return Gate(self._work / name)


class Gate:
    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self) -> None:
        self._path.touch()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_conversation_has_the_shape_of_the_one_with_real_pi(version: str, scenario: Any, tmp_path: Path) -> None:
    words = (sys.executable, PROGRAM, "--dialect", version)
    fake = PiCommand(OLD_DIALECT if version == OLD else "fake", version, words)
    tape = scenario(Bench(fake, tmp_path, Gates(tmp_path / "work")))  # type: ignore[arg-type]
    ours = conversation((line.sent, line.value) for line in tape.lines)
    pis = conversation((line.sent, line.value) for line in read_golden(version, scenario.__name__))
    for mine, theirs in zip(ours, pis, strict=True):
        assert mine == theirs
