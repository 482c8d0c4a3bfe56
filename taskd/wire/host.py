"""What a host says and hears, whichever dialect it speaks: the forms, and what a tongue is.

The daemon is not trusted more than any peer: no line makes `hear` raise, and what is no message of the dialect comes
back as `Garbled`. Results and event bodies stay encoded; whoever wants one decodes it, into a struct or a dict. Ids
that hosts give are strings, which both dialects can carry.

It must not know sockets, deadlines, or which calls are pending. The tongues are in `jsonrpc_host` and `piwork_host`,
their table in `registry`.
"""

from typing import Any, Final, Protocol

import msgspec

from taskd.model.errors import TaskdError
from taskd.model.events import EVENTS, Event
from taskd.wire.envelope import RequestId

EMPTY: Final = msgspec.Raw(b"{}")
_STAMP_FIELDS: Final = frozenset({"seq", "at", "taskId"})


class Answered(msgspec.Struct, frozen=True, gc=False):
    """The result of the call with that id, in JSON."""

    id: RequestId
    result: msgspec.Raw


class Refused(msgspec.Struct, frozen=True):
    """The error of the call with that id, or of a line that the daemon did not understand (id None).

    `code` is one of `errors.Code`, or what a newer or other daemon says instead.
    """

    id: RequestId
    code: str
    message: str
    retryable: bool
    details: dict[str, Any]


class Told(msgspec.Struct, frozen=True, gc=False):
    """An event. `seq` is None in P0, which does not number them; `at` is RFC 3339.

    `body` is a JSON object with the event's own fields; in JSON-RPC `seq`, `at` and `taskId` stand among them.
    """

    name: str
    seq: int | None
    at: str
    task_id: str | None
    body: msgspec.Raw

    def fields(self) -> dict[str, Any]:
        """Give the event's own fields.

        Raises:
            msgspec.DecodeError: the body is no JSON object.
        """
        members = msgspec.json.decode(self.body, type=dict[str, Any])
        return {name: value for name, value in members.items() if name not in _STAMP_FIELDS}

    def event(self) -> Event | None:
        """Give the event as its struct, or None when this version does not know it.

        Raises:
            msgspec.DecodeError: the body is not that event's.
        """
        decoder = _EVENT_DECODERS.get(self.name)
        return decoder.decode(self.body) if decoder else None


class RawAgentLine(msgspec.Struct, frozen=True, gc=False):
    """A line of the active task's agent, as the agent wrote it (P0 only)."""

    line: bytes


class Garbled(msgspec.Struct, frozen=True):
    """A line that is no message of the dialect, and why."""

    line: bytes
    reason: str


Heard = Answered | Refused | Told | RawAgentLine | Garbled
HostParams = msgspec.Struct | dict[str, Any] | msgspec.Raw


class Tongue(Protocol):
    """One dialect as a host speaks it."""

    name: str

    def ask(self, id: str, method: str, params: HostParams = EMPTY) -> bytes:
        """Give the line that calls a native method, with its newline."""

    def hear(self, line: bytes) -> list[Heard]:
        """Say what a line means; nothing for a blank one, several things for a batch of answers. Never raises."""


def unreadable(line: bytes, error: TaskdError) -> list[Heard]:
    """Say what a line is that is no JSON: nothing if it is blank."""
    return [] if not line or line.isspace() else [Garbled(line, error.message)]


_EVENT_DECODERS: Final = {name: msgspec.json.Decoder(kind) for name, kind in EVENTS.items()}
