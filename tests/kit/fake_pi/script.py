"""Directives of the fake pi: text to steps. Pure; knows the names, not what they do."""

from __future__ import annotations

from typing import NamedTuple

ANSWER = frozenset({"text", "think", "usage", "stop", "chunks", "flood", "tool", "also"})
PACE = frozenset({"gate", "reach", "hang", "delay"})
DIALOG = frozenset({"select", "confirm", "input", "notify", "status-line"})
MODEL = frozenset({"status", "drop", "retry-gate"})
DEATH = frozenset({"die", "exit", "half", "torn", "freeze"})
HABIT = frozenset({"ignore", "mute", "fail-model", "reorder", "escape", "close-stdin", "close-stdout"})
DIRT = frozenset({"noise", "null", "line", "unending", "bad-utf8", "stderr", "late"})
MISDEED = DEATH | HABIT | DIRT
RESPONSE = frozenset({"silent", "refuse"})
KNOWN = ANSWER | PACE | DIALOG | MODEL | MISDEED | RESPONSE


class Step(NamedTuple):
    """One directive: its name and what follows it on the line."""

    name: str
    rest: str


class UnknownDirectiveError(Exception):
    """The prompt names a directive that does not exist."""


def parse(prompt: str) -> list[Step]:
    """The steps of a prompt; one without directives is echoed. Raises UnknownDirectiveError."""
    steps = [_step(line) for line in prompt.split("\n") if line.startswith("@")]
    return steps or [Step("text", f"echo: {prompt}")]


def _step(line: str) -> Step:
    name, _, rest = line[1:].partition(" ")
    if name not in KNOWN:
        raise UnknownDirectiveError(name)
    return Step(name, rest)
