"""One host: bytes in, calls to the methods table, answers and events out.

The dialect is chosen by the first line that is in one; what comes before it is answered in JSON-RPC. One writer:
everything for the host goes through `put`, is written at the end of the burst as far as it goes, and waits in a bounded
outbox otherwise. A host that lets the outbox run full is told why and closed; nobody else notices.
"""

from collections import deque
from typing import Any

import anyio
import structlog

from taskd.core.stimuli import ChannelClosed
from taskd.edge.methods import Methods, Session
from taskd.edge.transports.link import Link
from taskd.model.calls import Result
from taskd.model.errors import Code, TaskdError
from taskd.model.events import ChannelClosing
from taskd.model.ids import ChannelId
from taskd.model.limits import Limits
from taskd.services.hub import Hub
from taskd.services.supervisor import Supervisor
from taskd.wire.dialect import Dialect
from taskd.wire.envelope import Call, Fault
from taskd.wire.framing import LineSplitter, TooLong
from taskd.wire.jsonrpc import JsonRpc
from taskd.wire.registry import DIALECTS, recognise


class Connection:
    """A channel from its first byte to its last.

    Args:
        channel: its number.
        link: its bytes.
        session: who speaks, and whether a token is still due.
        supervisor, hub, methods, limits: what it works with.
    """

    def __init__(
        self,
        *,
        channel: ChannelId,
        link: Link,
        session: Session,
        supervisor: Supervisor,
        hub: Hub,
        methods: Methods,
        limits: Limits,
    ) -> None:
        self.channel = channel
        self.session = session
        self._link = link
        self._supervisor = supervisor
        self._hub = hub
        self._methods = methods
        self._limits = limits
        self._dialect: Dialect | None = None
        self._outbox: deque[bytes | memoryview] = deque()
        self._waiting = 0
        self._wake = anyio.Event()
        self._answered = anyio.Event()
        self._closing: str | None = None
        self._open_calls = 0
        self._ended = False
        self._scope = anyio.CancelScope()
        self._log = structlog.get_logger("taskd.connection").bind(channel=channel, peer=session.peer)

    # As the hub sees it ---------------------------------------------------------------------------------------------

    @property
    def dialect(self) -> Dialect | None:
        """The tongue for events: none before the host has spoken, or shown its token."""
        return self._dialect if self.session.admitted else None

    def put(self, data: bytes) -> None:
        """Take bytes for the host."""
        if self._closing is not None or not data:
            return
        if self._waiting and self._waiting + len(data) > self._limits.outbox_bytes:
            # One line may be longer than the bound, if the host takes it while nothing else waits: it asked for it.
            self._overflow()
            return
        self._outbox.append(data)
        self._waiting += len(data)

    def flush(self) -> None:
        """Write what waits, as far as it goes now."""
        while self._outbox:
            block = self._next_block()
            try:
                taken = self._link.write_now(block)
            except (OSError, anyio.ClosedResourceError):
                self._drop()
                return
            self._waiting -= taken
            if taken < len(block):
                self._outbox[0] = memoryview(block)[taken:]
                self._wake.set()
                return
            self._outbox.popleft()

    def _next_block(self) -> bytes | memoryview:
        """Give the rest of a block that was cut, or all that waits as one block."""
        if len(self._outbox) > 1 and not isinstance(self._outbox[0], memoryview):
            whole = b"".join(self._outbox)
            self._outbox.clear()
            self._outbox.append(whole)
        return self._outbox[0]

    # Its life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the host until one side is done."""
        self._hub.attach(self)
        self._log.debug("channel opened")
        try:
            with self._scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._write_rest)
                    group.start_soon(self._demand_token)
                    await self._read()
                    self._give_up_lease()
                    await self._answer_the_rest()
                    group.cancel_scope.cancel()
            await self._last_words()
        finally:
            self._hub.detach(self)
            self._link.close()
            self._give_up_lease()
            self._log.debug("channel closed", reason=self._closing)

    def close(self, reason: str, code: Code = Code.SHUTTING_DOWN) -> None:
        """Tell the host why, and hang up."""
        if self._closing is None:
            self._closing = reason
            self._tell_closing(reason, code)
        self._scope.cancel()

    def describe(self) -> dict[str, Any]:
        """Facts for diag."""
        return {
            "channel": self.channel,
            "peer": self.session.peer,
            "dialect": self._dialect.name if self._dialect else None,
            "admitted": self.session.admitted,
            "outboxBytes": self._waiting,
            "openCalls": self._open_calls,
        }

    async def _read(self) -> None:
        splitter = LineSplitter(self._limits.host_line_bytes)
        try:
            while data := await self._link.read(self._limits.channel_read_bytes):
                with self._hub:
                    for line in splitter.feed(data):
                        self._take(line)
        except (OSError, anyio.ClosedResourceError) as error:
            self._log.debug("channel broke", error=str(error))

    def _take(self, line: bytes | TooLong) -> None:
        if isinstance(line, TooLong):
            self._fault(_too_long(self._limits))
            return
        if not line.strip():
            return
        dialect = self._dialect or self._choose(line)
        for asked in dialect.read(line):
            if isinstance(asked, Fault):
                self._hub.send(self, asked.answer)
            else:
                self._call(dialect, asked)

    def _choose(self, line: bytes) -> Dialect:
        """Settle the dialect, if the line tells it. A host may find another's half line on a serial port."""
        name = recognise(line)
        if name is not None:
            self._dialect = DIALECTS[name]()
        return self._dialect or JsonRpc()

    def _call(self, dialect: Dialect, call: Call) -> None:
        if self._open_calls >= self._limits.pending_calls_per_channel:
            busy = f"{self._open_calls} calls of this channel wait already (limit pending_calls_per_channel)"
            self._hub.send(self, dialect.refuse(call, TaskdError(Code.OVERLOADED, busy)))
            return
        self._open_calls += 1

        def answer(result: Result | TaskdError) -> None:
            line = dialect.refuse(call, result) if isinstance(result, TaskdError) else dialect.answer(call, result)
            self._open_calls -= 1
            self._answered.set()
            self._hub.send(self, line)

        self._methods.call(self, dialect, call, answer)

    def _fault(self, error: TaskdError) -> None:
        self._hub.send(self, (self._dialect or JsonRpc()).fault(None, error))

    def _give_up_lease(self) -> None:
        """The host is gone, or will ask for nothing more: whoever comes next may drive."""
        if not self._ended:
            self._ended = True
            self._supervisor.submit(ChannelClosed(self.channel))

    async def _answer_the_rest(self) -> None:
        """A host may end its side and still read (`nc -N`, a script on a pipe): give it the answers that are due."""
        with anyio.move_on_after(self._limits.half_closed_seconds):
            while self._open_calls:
                self._answered = anyio.Event()
                await self._answered.wait()

    async def _write_rest(self) -> None:
        """Write what `flush` had to leave."""
        while True:
            self._wake = anyio.Event()
            if not self._outbox:
                await self._wake.wait()
            await self._link.wait_writable()
            self.flush()

    async def _demand_token(self) -> None:
        await anyio.sleep(self._limits.authenticate_seconds)
        if not self.session.admitted:
            self.close("no token was shown in time", Code.UNAUTHENTICATED)

    async def _last_words(self) -> None:
        """Give a host that still reads the end of what it was told."""
        with anyio.move_on_after(self._limits.close_flush_seconds, shield=True):
            self.flush()
            while self._outbox:
                await self._link.wait_writable()
                self.flush()

    def _overflow(self) -> None:
        self._log.warning("host reads too slowly; closing its channel", outbox_bytes=self._waiting)
        cut = self._outbox[0] if self._outbox else b""
        self._outbox.clear()
        self._waiting = 0
        if isinstance(cut, memoryview):
            # A part of it is on the wire; the closing words must not be glued to the middle of a line.
            rest = bytes(cut).partition(b"\n")[0] + b"\n"
            self._outbox.append(rest)
            self._waiting = len(rest)
        self.close(f"more than {self._limits.outbox_bytes} bytes wait for you (limit outbox_bytes)", Code.OVERLOADED)

    def _drop(self) -> None:
        self._outbox.clear()
        self._waiting = 0
        self._closing = self._closing or "broken"
        self._scope.cancel()

    def _tell_closing(self, reason: str, code: Code) -> None:
        if self._dialect is None:
            return
        body = ChannelClosing(reason=reason, code=code.value)
        line = self._dialect.event(self._hub.stamp(body))
        self._outbox.append(line)
        self._waiting += len(line)


def _too_long(limits: Limits) -> TaskdError:
    return TaskdError(
        Code.LINE_TOO_LONG,
        f"a line of more than {limits.host_line_bytes} bytes was skipped (limit host_line_bytes)",
        details={"limit": limits.host_line_bytes},
    )
