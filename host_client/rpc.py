"""Calls and their answers over one connection after another: ids, deadlines, and what a lost connection does to them.

A call lives in the pending map from its asking to its answer, and may outlive the connection it was first sent on:
with the same id and the same client id the guest gives the answer it gave before, so it is sent again where that is
safe (see `methods.Again`). Rules of this file:

* Ids are never used twice within the guest's memory, also by a host that comes back under the same client id.
* Every call has a deadline or a caller who cancels. A late answer is counted and dropped.
* Lines are taken in order and at once: an answer's `seen` runs before the next event is looked at.
* It knows no method by name, no event, and no address.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Generic

import anyio
import msgspec

from host_client.channel import Channel
from host_client.errors import BadAnswer, CallTimeout, ConnectionLost, GuestError, HostError, TooManyCalls
from host_client.methods import Again, Method, P, R
from taskd.model.errors import Code
from taskd.model.limits import DEFAULT_LIMITS
from taskd.wire.framing import LineSplitter, TooLong
from taskd.wire.host import Answered, Garbled, RawAgentLine, Refused, Told, Tongue

MAX_PENDING: Final = DEFAULT_LIMITS.pending_calls_per_channel
"""Calls that wait for answers; the guest's own bound for one channel."""

MAX_REQUEST_BYTES: Final = DEFAULT_LIMITS.host_line_bytes
"""The longest line that the guest takes; a longer one would be skipped there, without an answer to its call."""

MAX_LINE_BYTES: Final = 320 << 20
"""The longest line taken from a guest: the largest session (256 MiB) as one answer, and its envelope."""

SELF_DESCRIBED: Final = 200
"""Characters kept of what the guest said against a line that it could not understand."""


class Standing(Enum):
    """Whether calls can go out."""

    OPEN = "open"
    WAITING = "waiting"
    """There is no connection, but one is being made: calls wait."""
    DOWN = "down"


class _Pending(Generic[P, R]):
    """A call that waits for its answer."""

    __slots__ = ("done", "error", "id", "line", "method", "queued", "result", "seen", "sent", "urgent")

    def __init__(
        self, id: str, method: Method[P, R], line: bytes, seen: Callable[[R], None] | None, urgent: bool
    ) -> None:
        self.id = id
        self.method = method
        self.line = line
        self.seen = seen
        self.urgent = urgent
        self.done = anyio.Event()
        self.result: R | None = None
        self.error: HostError | None = None
        self.queued = False
        self.sent = False

    def leave(self) -> None:
        """The line is about to be on the wire: from here on the guest may act on it."""
        self.sent = True

    def answer(self, raw: msgspec.Raw) -> None:
        try:
            self.result = self.method.read(raw)
        except msgspec.DecodeError as error:
            self.fail(BadAnswer(f"{self.method.name}: {error}"))
            return
        if self.seen is not None:
            self.seen(self.result)
        self.done.set()

    def fail(self, error: HostError) -> None:
        if not self.done.is_set():
            self.error = error
            self.done.set()

    def lose(self, reason: str) -> None:
        self.fail(ConnectionLost(reason, maybe_done=self.sent and self.method.changes))

    def outcome(self) -> R:
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result


class Rpc:
    """The calls of one client.

    Args:
        prefix: begins every request id. A random one for each `Rpc`: the guest remembers ids beyond our lives.
        tongue: the dialect.
        hear: takes events, in order.
        hear_raw: takes raw agent lines, in order (P0 only).
        max_pending: bound of waiting calls.

    Attributes:
        standing: whether calls can go out.
        dropped: answers that came too late or to no call, and lines that were no message of the dialect.
    """

    def __init__(
        self,
        prefix: str,
        tongue: Tongue,
        hear: Callable[[Told], None],
        hear_raw: Callable[[bytes], None],
        max_pending: int = MAX_PENDING,
    ) -> None:
        self.standing = Standing.WAITING
        self.dropped = 0
        self._prefix = prefix
        self._tongue = tongue
        self._hear = hear
        self._hear_raw = hear_raw
        self._max_pending = max_pending
        self._pending: dict[str, _Pending[Any, Any]] = {}
        self._channel: Channel | None = None
        self._last_id = 0
        self._complaint = ""

    def __len__(self) -> int:
        return len(self._pending)

    async def call(
        self,
        method: Method[P, R],
        params: P,
        timeout: float | None = None,
        *,
        seen: Callable[[R], None] | None = None,
        urgent: bool = False,
    ) -> R:
        """Call a method and wait for its answer.

        Args:
            timeout: seconds; None leaves the deadline to the caller.
            seen: is given the result in its place among the events.
            urgent: belongs to the handshake: goes out before the connection is open to others, and is never repeated.

        Raises:
            GuestError: the guest refused.
            CallTimeout, ConnectionLost, BadAnswer, TooManyCalls: see `errors`.
        """
        pending = self._submit(method, params, seen, urgent)
        try:
            if timeout is None:
                await pending.done.wait()
            else:
                with anyio.move_on_after(timeout):
                    await pending.done.wait()
            if not pending.done.is_set():
                raise CallTimeout(method.name, timeout or 0.0, maybe_done=pending.sent and method.changes)
            return pending.outcome()
        finally:
            self._pending.pop(pending.id, None)

    # The connection's life ------------------------------------------------------------------------------------------

    def attach(self, channel: Channel) -> None:
        """Use this connection from now on, for urgent calls only until `resume`."""
        self._channel = channel
        self._complaint = ""

    async def run(self, channel: Channel) -> str:
        """Take what the connection brings until it ends; then say why it did."""
        splitter = LineSplitter(MAX_LINE_BYTES)
        reason = await channel.run(lambda data: self._take(splitter, data))
        return f"{reason} ({self._complaint})" if self._complaint else reason

    def resume(self, *, same_daemon: bool) -> None:
        """Open the connection to all calls, and send again those that were under way and may be."""
        self.standing = Standing.OPEN
        for pending in list(self._pending.values()):
            if pending.sent and not same_daemon and pending.method.again is Again.SAME_DAEMON:
                pending.lose("another daemon is there now")
            elif not pending.queued and not pending.done.is_set():
                self._send_again(pending)

    def lose(self, reason: str, *, wait: bool) -> None:
        """The connection is gone. With `wait` a new one is being made, and calls that may be repeated wait for it."""
        self.standing = Standing.WAITING if wait else Standing.DOWN
        self._channel = None
        for pending in list(self._pending.values()):
            repeatable = not pending.sent or pending.method.again is not Again.NEVER
            if wait and repeatable and not pending.urgent:
                pending.queued = False
            else:
                pending.lose(reason)

    # Lines ----------------------------------------------------------------------------------------------------------

    def _submit(
        self, method: Method[P, R], params: P, seen: Callable[[R], None] | None, urgent: bool
    ) -> _Pending[P, R]:
        if self.standing is Standing.DOWN and not urgent:
            raise ConnectionLost("there is no connection; reconnect first")
        if len(self._pending) >= self._max_pending:
            raise TooManyCalls(f"{len(self._pending)} calls wait for answers already")
        self._last_id += 1
        id = f"{self._prefix}-{self._last_id}"
        line = self._tongue.ask(id, method.name, params)
        if len(line) > MAX_REQUEST_BYTES:
            text = f"a request of {len(line)} bytes is longer than the guest takes ({MAX_REQUEST_BYTES})"
            raise GuestError(Code.LINE_TOO_LONG, text, details={"limit": MAX_REQUEST_BYTES})
        pending = _Pending(id, method, line, seen, urgent)
        if urgent or self.standing is Standing.OPEN:
            self._send(pending)
        self._pending[id] = pending
        return pending

    def _send(self, pending: _Pending[Any, Any]) -> None:
        if self._channel is None:
            raise ConnectionLost("there is no connection")
        self._channel.write(pending.line, pending.leave)
        pending.queued = True

    def _send_again(self, pending: _Pending[Any, Any]) -> None:
        try:
            self._send(pending)
        except HostError as error:
            pending.fail(error)

    def _take(self, splitter: LineSplitter, data: bytes) -> None:
        for line in splitter.feed(data):
            if isinstance(line, TooLong):
                self.dropped += 1
                continue
            for heard in self._tongue.hear(line):
                self._take_one(heard)

    def _take_one(self, heard: Answered | Refused | Told | RawAgentLine | Garbled) -> None:
        # Events first: there are thousands of them for each answer.
        if isinstance(heard, Told):
            self._hear(heard)
        elif isinstance(heard, Answered):
            self._settle(heard, lambda pending: pending.answer(heard.result))
        elif isinstance(heard, Refused):
            self._refused(heard)
        elif isinstance(heard, RawAgentLine):
            self._hear_raw(heard.line)
        else:
            self.dropped += 1

    def _refused(self, heard: Refused) -> None:
        if heard.id is None:
            self._complaint = f"the guest said: {heard.message}"[:SELF_DESCRIBED]
        error = GuestError(heard.code, heard.message, retryable=heard.retryable, details=heard.details)
        self._settle(heard, lambda pending: pending.fail(error))

    def _settle(self, heard: Answered | Refused, settle: Callable[[_Pending[Any, Any]], None]) -> None:
        pending = self._pending.get(heard.id) if isinstance(heard.id, str) else None
        if pending is None or pending.done.is_set():
            self.dropped += 1
            return
        settle(pending)
