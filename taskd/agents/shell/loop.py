"""A poll loop with named timers, signals as input, and an outbox that never blocks.

Must not know what the agent is. Rules: one callback at a time; a blocked stdout stops nobody from being read, it only
lets the outbox grow, and whoever fills it asks `Outbox.size` first. Idle means asleep in poll without a timeout.
"""

from __future__ import annotations

import os
import select
import signal
import time

from .limits import READ_SIZE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READABLE = select.POLLIN | select.POLLHUP | select.POLLERR
WRITABLE = select.POLLOUT | select.POLLHUP | select.POLLERR


class Loop:
    """Watches descriptors and deadlines until `stop` is called."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._ready: dict[int, Callable[[], None]] = {}
        self._timers: dict[str, tuple[float, Callable[[], None]]] = {}
        self._signals: dict[int, Callable[[], None]] = {}
        self.exit_code: int | None = None

    def watch(self, fd: int, events: int, ready: Callable[[], None]) -> None:
        """Call `ready` whenever `fd` has one of `events`; replaces an earlier watch."""
        self._poll.register(fd, events)
        self._ready[fd] = ready

    def forget(self, fd: int) -> None:
        """Stop watching; unknown descriptors are ignored."""
        if self._ready.pop(fd, None):
            self._poll.unregister(fd)

    def watched(self, fd: int) -> bool:
        """Whether `fd` is watched."""
        return fd in self._ready

    def after(self, name: str, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` once in `seconds`; a timer of the same name is replaced."""
        self._timers[name] = (time.monotonic() + seconds, then)

    def cancel(self, *names: str) -> None:
        """Forget timers; unknown names are ignored."""
        for name in names:
            self._timers.pop(name, None)

    def pending(self, name: str) -> bool:
        """Whether a timer of that name runs."""
        return name in self._timers

    def on_signal(self, number: int, then: Callable[[], None]) -> None:
        """Call `then` from the loop, never inside other code, when the signal came."""
        if not self._signals:
            read, write = os.pipe()
            os.set_blocking(read, False)
            os.set_blocking(write, False)
            signal.set_wakeup_fd(write, warn_on_full_buffer=False)
            self.watch(read, READABLE, lambda: self._take_signals(read))
        self._signals[number] = then
        signal.signal(number, _wake)

    def stop(self, exit_code: int) -> None:
        """End `run` after this round; the first code counts."""
        if self.exit_code is None:
            self.exit_code = exit_code

    def run(self, each_round: Callable[[], None]) -> int:
        """Serve until stopped; `each_round` runs after every batch of callbacks. Returns the exit code."""
        while self.exit_code is None:
            self.step(self._timeout())
            each_round()
        return self.exit_code

    def step(self, timeout_ms: int | None) -> None:
        """Wait at most `timeout_ms` (None: for ever) and call what is ready and due."""
        for fd, _ in self._poll.poll(timeout_ms):
            if ready := self._ready.get(fd):  # an earlier callback of this batch may have closed it
                ready()
        now = time.monotonic()
        for name, (due, then) in list(self._timers.items()):
            if due <= now and self._timers.get(name) == (due, then):
                del self._timers[name]
                then()

    def _timeout(self) -> int | None:
        if not self._timers:
            return None
        return max(0, int((min(due for due, _ in self._timers.values()) - time.monotonic()) * 1000) + 1)

    def _take_signals(self, fd: int) -> None:
        # RACE: signals that came together are one read; each of them is served once.
        for number in dict.fromkeys(read(fd) or b""):
            if then := self._signals.get(number):
                then()


def _wake(number: int, frame: object) -> None:
    """The signal's number is already in the wakeup pipe."""


def read(fd: int) -> bytes | None:
    """One read; None when nothing is there now, empty at the end (or when the other side is gone)."""
    try:
        return os.read(fd, READ_SIZE)
    except BlockingIOError:
        return None
    except OSError:
        return b""


class Outbox:
    """Lines on their way to `fd`, written as far as it takes them."""

    def __init__(self, loop: Loop, fd: int, broken: Callable[[], None]) -> None:
        self._loop = loop
        self._fd = fd
        self._broken = broken
        self._bytes = bytearray()
        self._closed = False
        os.set_blocking(fd, False)

    @property
    def size(self) -> int:
        """Bytes that are not written yet."""
        return len(self._bytes)

    def put(self, line: bytes) -> None:
        """Add one line (without its newline); nothing after `close`."""
        if not self._closed:
            self._bytes += line
            self._bytes += b"\n"

    def close(self) -> None:
        """Take no more lines; what is there is still written."""
        self._closed = True

    def flush(self) -> None:
        """Write what fits; the rest is written when the loop finds `fd` writable."""
        try:
            while self._bytes:
                with memoryview(self._bytes) as view:
                    written = os.write(self._fd, view[: 16 * READ_SIZE])
                del self._bytes[:written]
        except BlockingIOError:
            self._loop.watch(self._fd, WRITABLE, self.flush)
            return
        except OSError:
            self._bytes.clear()
            self._broken()
        self._loop.forget(self._fd)
