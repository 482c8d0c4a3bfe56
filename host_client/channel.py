"""One connection: lines out in order, bytes in, until it ends; then nothing.

Writing never waits: what the kernel does not take at once goes to a bounded outbox that one task empties, so that a
caller who is cancelled or out of time can never leave half a line on the wire, and a guest that does not read cannot
hold a caller beyond its deadline.
It must not know what a line means.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import anyio
from anyio.abc import ByteStream

from host_client.errors import TooManyCalls
from host_client.socketstream import SocketBytes

MAX_OUTBOX_BYTES: Final = 64 << 20
"""What may wait for a guest that does not read: four prompts of the longest line that it takes."""

READ_BYTES: Final = 256 << 10
"""One read; larger than any pipe or socket buffer is by default, so that one read empties it."""

CLOSE_SECONDS: Final = 1.0
"""How long the outbox may still be emptied when the connection is closed in order."""


class Channel:
    """One connection over a stream of bytes that it owns.

    Attributes:
        ended: set when `run` is over and the stream is closed.
    """

    def __init__(self, stream: ByteStream) -> None:
        self.ended = anyio.Event()
        self._stream = stream
        self._outbox: deque[tuple[bytes, Callable[[], None] | None]] = deque()
        self._bytes = 0
        self._wake = anyio.Event()
        self._empty = anyio.Event()
        self._scope = anyio.CancelScope()
        self._reason = "the guest closed the connection"
        self._running = False

    def write(self, line: bytes, leaving: Callable[[], None] | None = None) -> None:
        """Queue a line, newline included; `leaving` is called when it is about to be on the wire.

        Raises:
            TooManyCalls: the outbox is full, because the guest does not read.
        """
        if not self._outbox and self._running and isinstance(self._stream, SocketBytes):
            line = self._write_now(self._stream, line, leaving)
            if not line:
                return
            leaving = None
        if self._bytes and self._bytes + len(line) > MAX_OUTBOX_BYTES:
            raise TooManyCalls("the guest does not read; what waits for it has reached its bound")
        self._outbox.append((line, leaving))
        self._bytes += len(line)
        self._wake.set()

    def close(self, reason: str) -> None:
        """End the connection at once; `run` gives `reason`."""
        if not self.ended.is_set():
            self._reason = reason
            self._scope.cancel()

    def because(self, reason: str) -> None:
        """Say why the connection will end, before it does."""
        self._reason = reason

    async def run(self, take: Callable[[bytes], None]) -> str:
        """Give what comes to `take`, piece by piece, until the connection ends; then say why it did."""
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._write_all)
                    self._running = True
                    await self._read_all(take)
                    tasks.cancel_scope.cancel()
        finally:
            self._running = False
            with anyio.CancelScope(shield=True):
                await self._close_stream()
            self.ended.set()
        return self._reason

    async def flush(self) -> None:
        """Wait until the outbox is empty, at most `CLOSE_SECONDS`."""
        with anyio.move_on_after(CLOSE_SECONDS):
            while self._outbox and not self.ended.is_set():
                self._empty = anyio.Event()
                await self._empty.wait()

    def _write_now(self, stream: SocketBytes, line: bytes, leaving: Callable[[], None] | None) -> bytes:
        """Give the kernel what it takes at once; most lines never see the outbox."""
        if leaving is not None:
            leaving()
        try:
            return line[stream.send_now(line) :]
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            # The writer finds the same, and ends the connection for it.
            return line

    async def _read_all(self, take: Callable[[bytes], None]) -> None:
        try:
            while True:
                take(await self._stream.receive(READ_BYTES))
        except anyio.EndOfStream:
            return
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as error:
            self._broken(error)

    async def _write_all(self) -> None:
        try:
            while True:
                while self._outbox:
                    await self._write_one()
                self._empty.set()
                self._wake = anyio.Event()
                await self._wake.wait()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as error:
            # What the guest said before it closed is still read; its end of stream says more than our broken pipe.
            await anyio.sleep(CLOSE_SECONDS)
            self._broken(error)
            self._scope.cancel()

    async def _write_one(self) -> None:
        line, leaving = self._outbox[0]
        if leaving is not None:
            leaving()
        await self._stream.send(line)
        self._outbox.popleft()
        self._bytes -= len(line)

    async def _close_stream(self) -> None:
        try:
            await self._stream.aclose()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            return

    def _broken(self, error: BaseException) -> None:
        cause = error.__cause__ or error
        self._reason = f"the connection broke: {cause}" if str(cause) else "the connection broke"
