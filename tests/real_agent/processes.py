"""Real processes, for stories in which they die: found below the daemon, held by a pidfd, seen to be gone.

A pidfd cannot come to mean another process, and tells the end also of a process that nobody has taken the status of.
Rules: nothing here waits for time alone; every wait ends after `PATIENCE_SECONDS`.
"""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kit.daemon import PATIENCE_SECONDS, Daemon, Host


class Held:
    """A running process. Use it as a context manager: leaving kills it, so that a failed story leaves nothing."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = os.pidfd_open(pid)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal it, unless it is gone."""
        try:
            signal.pidfd_send_signal(self._fd, number)
        except ProcessLookupError:
            return

    def is_gone(self, within: float = PATIENCE_SECONDS) -> bool:
        """Whether it has ended, or ends within so many seconds."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(within * 1000))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self.kill()
        os.close(self._fd)


def agent_of(daemon: Daemon, work: Path) -> Held:
    """The agent that was started in this folder: the daemon's only child there."""
    (pid,) = (pid for pid in _pids() if _parent(pid) == daemon.process.pid and _folder(pid) == work)
    return Held(pid)


def tool_of(host: Host) -> Held:
    """The tool that prints its process id as its first output."""
    return Held(int(host.event("tool_output")["chunk"]))


PRINT_PID = "echo $$"
"""What a tool's command begins with, for `tool_of`."""


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _parent(pid: int) -> int | None:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name in parentheses may hold anything, so what follows its last one is split.
    return int(status.rpartition(")")[2].split()[1])


def _folder(pid: int) -> Path | None:
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd"))
    except OSError:
        return None
