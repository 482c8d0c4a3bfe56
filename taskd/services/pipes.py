"""Non-blocking pipe ends for anyio: a reader that never mistakes silence for the end, a writer that never blocks."""

import os
from collections import deque
from contextlib import suppress

import anyio
import anyio.lowlevel


class PipeReader:
    """The read end of a pipe, which stays the caller's to close.

    Args:
        descriptor: non-blocking.
        max_bytes: the most that one read gives.
    """

    def __init__(self, descriptor: int, max_bytes: int) -> None:
        self._descriptor = descriptor
        self._max_bytes = max_bytes
        self._waited = True

    async def read(self) -> bytes:
        """Read what is there, waiting for the first byte; `b""` means the end.

        Other tasks run between two reads, so that a writer that never pauses cannot hold the event loop.

        Raises:
            OSError: the descriptor is broken.
        """
        if not self._waited:
            await anyio.lowlevel.checkpoint()
        self._waited = False
        while True:
            try:
                return os.read(self._descriptor, self._max_bytes)
            except BlockingIOError:
                self._waited = True
                await anyio.wait_readable(self._descriptor)


def close_quietly(descriptor: int) -> None:
    """Close a descriptor; wake who waits on it first, since closing alone would leave the loop watching a number."""
    if descriptor >= 0:
        anyio.notify_closing(descriptor)
        with suppress(OSError):
            os.close(descriptor)


class PipeWriter:
    """Bytes on their way into a pipe: written at once as far as it goes, the rest by `run`.

    Args:
        descriptor: the non-blocking write end; owned from here on.
        max_bytes: what may wait.
    """

    def __init__(self, descriptor: int, max_bytes: int) -> None:
        self._descriptor = descriptor
        self._max_bytes = max_bytes
        self._queue: deque[memoryview] = deque()
        self._waiting = 0
        self._wake = anyio.Event()
        self._closing = False
        self.broken = False

    def write(self, data: bytes) -> bool:
        """Take bytes; False when too much waits already or the other end is gone, and nothing was taken."""
        if self._closing or self.broken or self._waiting + len(data) > self._max_bytes:
            return False
        self._queue.append(memoryview(data))
        self._waiting += len(data)
        self._push()
        if self._queue:
            self._wake.set()
        return True

    def close(self) -> None:
        """Close the pipe once everything is written."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """Write what did not go at once, until closed or broken."""
        while not self.broken:
            self._push()
            if self._queue:
                await anyio.wait_writable(self._descriptor)
            elif self._closing:
                break
            else:
                self._wake = anyio.Event()
                await self._wake.wait()
        self.drop()

    def drop(self) -> None:
        """Close the pipe now; what waits is lost."""
        self._queue.clear()
        self._waiting = 0
        self.broken = True
        close_quietly(self._descriptor)
        self._descriptor = -1

    def _push(self) -> None:
        try:
            while self._queue:
                taken = os.write(self._descriptor, self._queue[0])
                self._waiting -= taken
                if taken == len(self._queue[0]):
                    self._queue.popleft()
                else:
                    self._queue[0] = self._queue[0][taken:]
        except BlockingIOError:
            return
        except OSError:
            # EPIPE: the agent has closed its stdin. Its exit, if it exits, is told by the pidfd.
            self.broken = True
            self._wake.set()
