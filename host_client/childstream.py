"""A child's stdin and stdout as one stream of bytes.

Closing it ends the child: its stdin is closed, which a `taskd --stdio` takes as the order to stop its agents and leave;
then SIGTERM, then SIGKILL, each after a bounded wait, with stdout drained meanwhile so that a child that is stuck on a
full pipe can exit. The child is always reaped.
"""

from collections.abc import Callable
from typing import Final

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, ByteStream, Process

EXIT_SECONDS: Final = 10.0
"""From the end of stdin to SIGTERM; an orderly shutdown of the daemon takes up to 8 s (limit shutdown_seconds)."""

TERM_SECONDS: Final = 2.0
"""From SIGTERM to SIGKILL."""

REAP_SECONDS: Final = 5.0
"""What the kernel may take to deliver a SIGKILL."""


class ChildStream(ByteStream):
    """The stream of one process that was opened with pipes for stdin and stdout."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._stdin: ByteSendStream = process.stdin
        self._stdout: ByteReceiveStream = process.stdout

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Read what the child has written."""
        return await self._stdout.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        """Write to the child."""
        await self._stdin.send(item)

    async def send_eof(self) -> None:
        """Close the child's stdin."""
        await self._stdin.aclose()

    async def aclose(self) -> None:
        """End the child and reap it; see the head of this file."""
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(1.0):
                await self._stdin.aclose()
            if not await self._gone(EXIT_SECONDS):
                self._signal(self.process.terminate)
                if not await self._gone(TERM_SECONDS):
                    self._signal(self.process.kill)
                    await self._gone(REAP_SECONDS)
            await self._stdout.aclose()

    async def _gone(self, seconds: float) -> bool:
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._drain)
                await self.process.wait()
                tasks.cancel_scope.cancel()
        return self.process.returncode is not None

    async def _drain(self) -> None:
        try:
            while True:
                await self._stdout.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            return

    @staticmethod
    def _signal(send: Callable[[], None]) -> None:
        try:
            send()
        except ProcessLookupError:
            return
