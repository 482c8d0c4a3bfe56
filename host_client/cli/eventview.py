"""The event stream for people and programs: one line for each event."""

from collections.abc import Collection
from typing import Final

from host_client.cli.eventwords import words_of
from host_client.cli.jsonlines import item_line
from host_client.cli.screen import cut, err, out
from host_client.cli.session import Guest, tell_json
from host_client.notices import GuestEvent, Lagged, Reconnected, Refreshed

STYLES: Final = {
    "task_error": "bold red",
    "agent_question": "bold magenta",
    "agent_end": "green",
    "task_ready": "green",
    "agent_output": "",
}
"""Colours of events; the others are dim."""

_TASK_WIDTH: Final = 12
_NAME_WIDTH: Final = 21


class EventView:
    """Shows events.

    Args:
        guest: how its user wants to be answered.
        names: the events to show; all if empty.
    """

    def __init__(self, guest: Guest, names: Collection[str] = ()) -> None:
        self._as_json = guest.as_json
        self._names = frozenset(names)
        self._out = out()
        self._err = err()

    def show(self, item: object) -> None:
        """Show one thing that happened."""
        if isinstance(item, Refreshed) or not self._is_wanted(item):
            return
        if self._as_json:
            tell_json(item_line(item))
            return
        match item:
            case GuestEvent():
                self._show_event(item)
            case Lagged(missed=missed):
                self._err.line(f"{missed:,} events were skipped: this terminal is too slow", "magenta")
            case Reconnected():
                self._err.line("reconnected; what happened meanwhile was not seen", "magenta")

    def _is_wanted(self, item: object) -> bool:
        return not (isinstance(item, GuestEvent) and self._names and item.name not in self._names)

    def _show_event(self, item: GuestEvent) -> None:
        text = f"{item.at[11:23]}  {item.task_id or '-':<{_TASK_WIDTH}}  {item.name:<{_NAME_WIDTH}}  {words_of(item)}"
        width = self._out.width
        style = STYLES.get(item.name, "dim")
        self._out.line((text if width is None else cut(text, width)).rstrip(), style)
