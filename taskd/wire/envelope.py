"""The neutral forms between bytes and methods: what a host asked, and what it is told. Both dialects speak these."""

from typing import Any

import msgspec

from taskd.model.errors import TaskdError
from taskd.model.events import Event

RequestId = str | int | float | None


class Call(msgspec.Struct, frozen=True):
    """A request. `method` is the native name; `wants_answer` is false for a notification."""

    id: RequestId
    method: str
    params: msgspec.Raw
    wants_answer: bool = True
    batch: int | None = None
    """The batch this call came in; its answer is collected with the others of that batch."""
    id_token: bytes = b""
    """The id in JSON, as it stood on the line, for the answer: 1.50 stays 1.50."""
    alias: str = ""
    """The dialect's own name for the method, where it has one; the answer has that command's shape then."""


class Fault(msgspec.Struct, frozen=True):
    """A line that is no request; `answer` is what the host is to be told."""

    answer: bytes


class Stamped(msgspec.Struct, frozen=True):
    """An event as it is told: numbered, dated, of a task (or of none), with its body encoded once for all dialects."""

    seq: int
    at: str
    task_id: str | None
    name: str
    body: bytes
    """The event's own fields as a JSON object."""


class RawLine(msgspec.Struct, frozen=True):
    """A line of the active task's agent, as it is, for hosts of the replaced system."""

    task_id: str
    line: bytes


Params = dict[str, Any]
Answer = msgspec.Struct | dict[str, Any]
Refusal = TaskdError
Told = Event
