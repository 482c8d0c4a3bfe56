"""Telling systemd how we are (sd_notify), without libsystemd: one datagram for each message.

`READY=1` is told when hosts are served, not when sockets are open; `WATCHDOG=1` only while the daemon says that it is
well. A message that cannot be delivered within its bound is dropped: the daemon never waits for its manager.
"""

import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

import anyio

NOTIFY_SECONDS: Final = 2.0
"""How long a full queue of the manager is waited for."""


class Notifier:
    """The way to the manager; without one every message is dropped.

    Args:
        where: the value of `NOTIFY_SOCKET`: an absolute path, or `@` and an abstract name; None for no manager.
    """

    def __init__(self, where: str | None) -> None:
        self._sock = _connected(where) if where else None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Notifier":
        """Look for `NOTIFY_SOCKET`."""
        return cls(environ.get("NOTIFY_SOCKET"))

    @property
    def heard(self) -> bool:
        """Whether there is somebody to tell."""
        return self._sock is not None

    async def ready(self, status: str = "") -> bool:
        """Say that hosts are served."""
        return await self._tell("READY=1", _status(status))

    async def status(self, status: str) -> bool:
        """Say in one line what goes on, for `systemctl status`."""
        return await self._tell(_status(status))

    async def stopping(self, status: str = "") -> bool:
        """Say that the end has begun."""
        return await self._tell("STOPPING=1", _status(status))

    async def alive(self) -> bool:
        """Feed the watchdog."""
        return await self._tell("WATCHDOG=1")

    async def extend_timeout(self, seconds: float) -> bool:
        """Ask for more time to start or to stop."""
        return await self._tell(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def close(self) -> None:
        """Close the socket. A second call does nothing."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    async def _tell(self, *fields: str) -> bool:
        """Send one message, and say whether the manager has it."""
        if self._sock is None:
            return False
        data = "\n".join(field for field in fields if field).encode("utf-8", "replace")
        with suppress(OSError), anyio.move_on_after(NOTIFY_SECONDS):
            while True:
                try:
                    self._sock.send(data)
                except BlockingIOError:
                    await anyio.wait_writable(self._sock)
                else:
                    return True
        return False


class Watchdog:
    """Feeds systemd's watchdog for as long as the daemon is well.

    Args:
        notifier: the way to the manager.
        interval: seconds between messages, from `watchdog_interval`.
        is_well: asked before each message; if it says no, none is sent, and systemd restarts us in the end.
    """

    def __init__(
        self,
        notifier: Notifier,
        interval: float,
        is_well: Callable[[], bool],
        *,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._notifier = notifier
        self._interval = interval
        self._is_well = is_well
        self._sleep = sleep

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            if self._is_well():
                await self._notifier.alive()
            await self._sleep(self._interval)


def watchdog_interval(environ: Mapping[str, str], *, pid: int, share: float) -> float | None:
    """Give the seconds between messages: a share of systemd's limit. None if no watchdog waits for this process."""
    limit = environ.get("WATCHDOG_USEC", "")
    meant = environ.get("WATCHDOG_PID", str(pid))
    if meant != str(pid) or not (limit.isascii() and limit.isdecimal()) or int(limit) == 0:
        return None
    return int(limit) / 1_000_000 * share


def _connected(where: str) -> socket.socket | None:
    """Connect, so that a full queue can be waited for. Forms that we do not know count as no manager."""
    if not where.startswith(("/", "@")) or len(where) < 2:
        return None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.setblocking(False)
    try:
        sock.connect("\0" + where[1:] if where.startswith("@") else where)
    except OSError:
        sock.close()
        return None
    return sock


def _status(status: str) -> str:
    return "STATUS=" + " ".join(status.split()) if status else ""
