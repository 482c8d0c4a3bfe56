"""Keeps a client's one connection up: dial, greet, notice the end, dial again within a deadline.

It decides *whether* there is a connection; `rpc` decides what that means for calls, `client` for everything else.

* An attempt counts only when the guest has answered the greeting. A virtio-serial port that another client holds
  accepts a connection and then says nothing for ever, so the greeting is within the time limit of the dialling.
* There is one connection at a time: the old one is closed, and its child reaped, before the next is dialled.
* Nobody dials while somebody else does.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import anyio
from anyio.abc import ByteStream, TaskGroup

from host_client.channel import Channel
from host_client.dial import delays
from host_client.errors import BadAnswer, CallTimeout, ConnectionLost, DialFailed, GuestError
from host_client.rpc import Rpc
from taskd.model.errors import Code

Dialer = Callable[[], Awaitable[ByteStream]]
"""Makes one attempt to connect. Raises `DialFailed`."""

_HINTS: Final[dict[str, str]] = {
    Code.UNAUTHENTICATED: "pass token=, name a token_file, or set TASKD_TOKEN",
    Code.FORBIDDEN: "connect as the user that taskd serves",
    Code.METHOD_NOT_FOUND: "this is no taskd, or a much older one",
}
_SILENT: Final = "the guest hangs, or another client holds the port"
_CLOSED: Final = "taskd ended, or it is no taskd; its log or stderr says why"


class Link:
    """See the head of this file.

    Args:
        tasks: where the connection is served.
        rpc: what it carries.
        address: for messages.
        dialer: makes one attempt.
        greet: talks to the guest with urgent calls; gives whether it is the daemon that was there before.
        on_up: the connection is open; told whether it is the same daemon, and whether it is a new connection at all.
        on_down: it is lost, and nobody dials again.
        timeout: seconds for one attempt, dialling and greeting.
        automatic: seconds to try to get a lost connection back; None leaves that to the caller.

    Attributes:
        up: whether calls can go out now.
        generation: how many connections there have been.
    """

    def __init__(
        self,
        *,
        tasks: TaskGroup,
        rpc: Rpc,
        address: str,
        dialer: Dialer,
        greet: Callable[[], Awaitable[bool]],
        on_up: Callable[[bool, bool], None],
        on_down: Callable[[ConnectionLost], None],
        timeout: float,
        automatic: float | None,
    ) -> None:
        self.up = False
        self.generation = 0
        self._tasks = tasks
        self._rpc = rpc
        self._address = address
        self._dialer = dialer
        self._greet = greet
        self._on_up = on_up
        self._on_down = on_down
        self._timeout = timeout
        self._automatic = automatic
        self._channel: Channel | None = None
        self._redialling = False
        self._closing = False
        self._lock = anyio.Lock()

    async def establish(self, within: float) -> None:
        """Connect; try again for `within` seconds (0: once) while it does not work.

        Raises:
            DialFailed: it did not work, and why the last time.
        """
        deadline = anyio.current_time() + within
        for delay in delays():
            left = deadline - anyio.current_time()
            try:
                await self._attempt(min(self._timeout, left) if within else self._timeout)
                return
            except DialFailed as error:
                if error.permanent or anyio.current_time() + delay >= deadline:
                    raise
            await anyio.sleep(delay)

    async def reconnect(self, within: float) -> None:
        """Hang up if there is a connection, and make a new one; calls that may be repeated wait for it meanwhile.

        Raises:
            DialFailed: as `establish`; everything that waited has failed then.
            ConnectionLost: the client is closed.
        """
        seen = self.generation
        async with self._lock:
            # Who waited for another's new connection has what it asked for.
            if not (self.up and self.generation != seen):
                await self._redial(within)

    def expect_end(self, reason: str) -> None:
        """The guest has said why it will close the connection."""
        if self._channel is not None:
            self._channel.because(f"the guest closed the connection: {reason}")

    def break_off(self, reason: str) -> None:
        """Give the connection up as dead."""
        if self._channel is not None:
            self._channel.close(reason)

    async def close(self) -> None:
        """Close for good, in order."""
        self._closing = True
        channel = self._channel
        if channel is not None:
            await channel.flush()
        await self._hang_up("the client is closed")
        self._rpc.lose("the client is closed", wait=False)

    async def _redial(self, within: float) -> None:
        if self._closing:
            raise ConnectionLost("the client is closed")
        self._redialling = True
        try:
            await self._hang_up("the client dials again")
            await self.establish(within)
        except DialFailed as error:
            self._give_up(ConnectionLost(str(error)))
            raise
        except BaseException:
            self._give_up(ConnectionLost("dialling again was cancelled"))
            raise
        finally:
            self._redialling = False

    async def _come_back(self, reason: str) -> None:
        async with self._lock:
            if self.up or self._closing:
                return
            try:
                await self._redial(self._automatic or 0.0)
            except DialFailed:
                # `_give_up` has told everybody.
                return

    async def _attempt(self, limit: float) -> None:
        stage, hint = "no connection", "check that the guest runs"
        with anyio.move_on_after(limit):
            stream = await self._dial()
            stage, hint = "connected, but no answer", _SILENT
            await self._greet_over(Channel(stream))
            return
        raise DialFailed(self._address, f"{stage} within {limit:g} s", hint)

    async def _dial(self) -> ByteStream:
        try:
            return await self._dialer()
        except OSError as error:
            # A dialer of the caller's own need not know `DialFailed`.
            raise DialFailed(self._address, str(error) or type(error).__name__) from error

    async def _greet_over(self, channel: Channel) -> None:
        self._channel = channel
        self._rpc.attach(channel)
        self._tasks.start_soon(self._serve, channel)
        try:
            # A virtio-serial port has no boundary between clients: this ends what the one before us left unfinished.
            channel.write(b"\n")
            same_daemon = await self._greet()
        except BaseException as error:
            await self._hang_up("the greeting failed")
            failure = self._refused(error)
            if failure is None:
                raise
            raise failure from error
        again = self.generation > 0
        self.up = True
        self.generation += 1
        self._rpc.resume(same_daemon=same_daemon)
        self._on_up(same_daemon, again)

    async def _serve(self, channel: Channel) -> None:
        reason = await self._rpc.run(channel)
        if channel is self._channel:
            self._down(reason)

    def _down(self, reason: str) -> None:
        was_up, self.up, self._channel = self.up, False, None
        waits = not self._closing and (self._redialling or (was_up and self._automatic is not None))
        self._rpc.lose(reason, wait=waits)
        if not was_up or self._redialling or self._closing:
            return
        if waits:
            self._tasks.start_soon(self._come_back, reason)
        else:
            self._on_down(ConnectionLost(reason))

    def _give_up(self, error: ConnectionLost) -> None:
        self._rpc.lose(error.reason, wait=False)
        self._on_down(error)

    async def _hang_up(self, reason: str) -> None:
        channel = self._channel
        if channel is None:
            return
        channel.close(reason)
        # Bounded by the streams' own limits; a child has to be reaped even if we are being cancelled.
        with anyio.CancelScope(shield=True):
            await channel.ended.wait()
        # RACE: the task that served it may not have come to saying so yet, and must not when there is a next one.
        if channel is self._channel:
            self._down(reason)

    def _refused(self, error: BaseException) -> DialFailed | None:
        """Give what a failed greeting means for the one who dials; None for what is no failure of the guest."""
        if isinstance(error, GuestError):
            return DialFailed(self._address, str(error), _HINTS.get(error.code, ""), permanent=not error.retryable)
        if isinstance(error, ConnectionLost):
            return DialFailed(self._address, error.reason, _CLOSED)
        if isinstance(error, CallTimeout):
            return DialFailed(self._address, str(error), _SILENT)
        if isinstance(error, BadAnswer):
            return DialFailed(self._address, str(error), _HINTS[Code.METHOD_NOT_FOUND], permanent=True)
        return None
