"""What the demo tells: short sentences while it happens, and a table at the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Final, NamedTuple

from host_client.cli.escapes import one_line
from host_client.cli.screen import Screen
from host_client.cli.session import tell_json
from host_client.cli.table import Cell, Column, show_table

_COLUMNS: Final = (Column("what happened"), Column("result", least=16), Column("time", right=True))

MAX_ANSWER_LINES: Final = 6
"""Lines of an agent's answer that are shown."""


class Step(NamedTuple):
    """One row of the closing table."""

    step: str
    result: str
    ms: float


class Story:
    """Tells what happens; for programs only the steps, one JSON line each."""

    def __init__(self, screen: Screen, *, as_json: bool) -> None:
        self.steps: list[Step] = []
        self._screen = screen
        self._as_json = as_json
        self._began = perf_counter()

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return perf_counter() - self._began

    def title(self, text: str) -> None:
        """Begin a new part."""
        self.line()
        self.line(text, "bold")

    def line(self, text: str = "", style: str = "") -> None:
        """Tell something; words are not torn at the end of a line."""
        if not self._as_json:
            self._screen.paragraph(text, style)

    def say(self, text: str, style: str = "") -> None:
        """Tell something that belongs to a part."""
        self.line(f"   {text}" if text else "", style)

    def asks(self, task: str, message: str) -> None:
        """Tell that a task gets a prompt."""
        self.say(f"you → {task}:  {message}", "cyan")

    def answers(self, task: str, text: str) -> None:
        """Tell what a task's agent said."""
        lines = [one_line(line) for line in text.strip().split("\n")]
        for number, line in enumerate(lines[:MAX_ANSWER_LINES]):
            self.say(f"{task} → you:  {line}" if number == 0 else " " * (len(task) + 9) + line, "green")
        if len(lines) > MAX_ANSWER_LINES:
            self.say("…", "green")

    @contextmanager
    def step(self, step: str, result: str) -> Iterator[None]:
        """Time one step, and remember it."""
        began = perf_counter()
        yield
        self.add(step, result, (perf_counter() - began) * 1000)

    def add(self, step: str, result: str, ms: float) -> None:
        """Remember a step."""
        self.steps.append(Step(step, result, ms))
        if self._as_json:
            tell_json(self.steps[-1]._asdict())

    def end(self, agent: str) -> None:
        """Close with the table."""
        if self._as_json:
            tell_json({"result": {"agent": agent, "seconds": round(self.seconds, 3), "steps": len(self.steps)}})
            return
        self.line()
        rows = [(step, Cell(result, "green"), f"{ms:,.1f} ms") for step, result, ms in self.steps]
        show_table(self._screen, _COLUMNS, rows)
