"""What a dialect is. Which there are, and which one a channel's first line chooses, is in `registry`."""

from typing import Protocol

from taskd.model.errors import TaskdError
from taskd.wire.envelope import Answer, Call, Fault, RequestId, Stamped


class Dialect(Protocol):
    """One channel's tongue. Bytes it gives end in a newline; bytes it takes are one line without it."""

    name: str
    raw_lines: bool
    """Whether hosts of this dialect expect the active agent's raw lines."""
    stop_event_first: bool
    """Whether they expect `task_stopped` before the answer of `stop_task`."""
    newest_drives: bool
    """Whether a newer channel of it takes the driver lease over from an older one, as its hosts know no lease."""
    idempotency_scope: str | None
    """A scope of request ids that outlives the channel, or None."""

    def read(self, line: bytes) -> list[Call | Fault]:
        """Take one line: a call, a batch of calls, or a fault with the answer to give. Never raises."""

    def answer(self, call: Call, result: Answer) -> bytes:
        """Give the line of a result; empty while other calls of the same batch are open, or for a notification."""

    def refuse(self, call: Call, error: TaskdError) -> bytes:
        """Give the line of an error; empty as for `answer`."""

    def fault(self, id: RequestId, error: TaskdError) -> bytes:
        """Give the line for an error that belongs to no call."""

    def event(self, stamped: Stamped) -> bytes:
        """Give the line of an event."""

    def raw(self, lines: list[bytes]) -> bytes:
        """Give lines of the active agent as hosts of this dialect are told them; empty when they are told none."""
