"""`taskctl diag`: what helps to find a fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from host_client.cli.commands import guest_command
from host_client.cli.session import Guest

if TYPE_CHECKING:
    from host_client.cli.screen import Screen
    from taskd.model.calls import DiagResult

EXAMPLES = """\
  taskctl diag                          a summary
  taskctl diag --json > fault.json      everything, to send along with a report
"""

STORY_LINES = 20
"""Of the machine's last decisions, so many are shown."""


_CHANNEL: Final = {
    "channel": "channel",
    "peer": "peer",
    "dialect": "dialect",
    "openCalls": "open calls",
    "outboxBytes": "bytes waiting",
}
_TASK: Final = {
    "taskId": "task",
    "state": "state",
    "agent": "agent",
    "incarnation": "incarnation",
    "turnCount": "turns",
    "lastError": "last error",
}
_SETTING: Final = {"setting": "setting", "value": "value", "source": "source"}
"""Which facts are shown, and the titles of their columns. What a daemon does not tell is left out."""


@guest_command(examples=EXAMPLES)
@click.option("--story", is_flag=True, help="All of the last decisions, not only the newest.")
async def diag(guest: Guest, story: bool) -> None:
    """Tell what helps to find a fault: who is connected, counters, what is set, the machine's last decisions.

    With --json it is all there, every limit and setting included. No secrets are in it.
    """
    from host_client.cli.screen import out

    async with guest.connect() as client:
        result = await client.diag()
    guest.tell(result, lambda: _show(out(), result, None if story else STORY_LINES))


def _show(screen: Screen, result: DiagResult, lines: int | None) -> None:
    from host_client.cli.escapes import one_line
    from host_client.cli.screen import cut

    up = f"up {_duration(result.uptime_seconds)}"
    screen.line(f"taskd {result.version}, pid {result.pid}, {up}, {result.timestamp}", "bold")
    counters = {"tasks": result.task_count, "active": result.active_task_id or "none"} | result.counters
    screen.line("  ".join(f"{key} {value}" for key, value in counters.items()))
    _section(screen, "channels", _CHANNEL, result.channels)
    _section(screen, "tasks", _TASK, result.tasks)
    chosen = [
        {"setting": key, **fact}
        for key, fact in result.settings.items()
        if isinstance(fact, dict) and fact.get("source") != "default"
    ]
    _section(screen, "settings that are not the default", _SETTING, chosen)
    screen.line("\nlast decisions", "bold")
    for line in result.story if lines is None else result.story[-lines:]:
        screen.line(one_line(line) if screen.width is None else cut(one_line(line), screen.width))


def _section(screen: Screen, title: str, names: Mapping[str, str], facts: Sequence[dict[str, Any]]) -> None:
    from host_client.cli.escapes import one_line
    from host_client.cli.table import Column, show_table

    screen.line(f"\n{title}", "bold")
    columns = [Column(title, least=12) for title in names.values()]
    rows = [[one_line(str(fact.get(name) or "")) for name in names] for fact in facts]
    if rows:
        show_table(screen, columns, rows)
    else:
        screen.line("none", "dim")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    shown = [f"{number} {unit}" for number, unit in parts if number][:2]
    return " ".join(shown) or "0 s"
