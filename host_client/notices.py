"""What a subscriber gets: the guest's events with their structs, and notices that no guest has said.

Each has a `name`, so that a consumer that goes by names need not know the kinds.
"""

from typing import Any, ClassVar

import msgspec

from taskd.model.events import Event
from taskd.wire.host import Told


class GuestEvent(msgspec.Struct, frozen=True, gc=False):
    """An event as it was told."""

    name: str
    seq: int | None
    """Its number; None in P0, which does not number events."""
    at: str
    """The guest's clock, RFC 3339."""
    task_id: str | None
    event: Event | None
    """Its struct; None for one that this version does not know."""
    told: Told

    def fields(self) -> dict[str, Any]:
        """Give the event's own fields as they were on the wire, also of an unknown event."""
        return self.told.fields()


class RawLine(msgspec.Struct, frozen=True, gc=False):
    """A line of the active task's agent as the agent wrote it; in P0 only, and only for those who ask for it."""

    name: ClassVar[str] = "raw_line"
    line: bytes


class Lagged(msgspec.Struct, frozen=True):
    """The subscriber read too slowly: `missed` items that came before the next one were dropped."""

    name: ClassVar[str] = "lagged"
    missed: int


class Reconnected(msgspec.Struct, frozen=True):
    """There is a new connection. Events between the old one and this were not heard."""

    name: ClassVar[str] = "reconnected"
    same_daemon: bool
    """Whether it is the process that was there before; if not, running turns have ended."""


class Refreshed(msgspec.Struct, frozen=True):
    """The mirror was asked for anew, because it could not be folded from events alone."""

    name: ClassVar[str] = "refreshed"
    reason: str


Notice = Lagged | Reconnected | Refreshed
