"""One child process with all that it starts: spawned in its own session, seen to end, and ended with its whole family.

The exit is seen by a pidfd, never by the end of a pipe: a helper may hold the pipe for hours. The family is found in
two ways: the process group (killed while the leader is still a zombie, so that its number cannot mean a stranger),
and a cookie in the environment, which finds what has left the group by `setsid` or a double fork.

RACE: a process that both leaves the group and wipes its environment is not found.
"""

import fcntl
import os
import secrets
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import anyio
from anyio import to_thread

COOKIE = "TASKD_COOKIE"
"""Name of the environment variable that marks the family of one process."""

PIPE_BYTES = 1 << 20
"""Size asked for an agent's stdout pipe: Linux's default limit for ordinary users, so that a fast agent is not stopped
by every one of our naps."""

SWEEPS = 5
"""A process that forks while we look is found by the next look; a fork bomb is the cgroup's business."""

_ENVIRON_BYTES = 256 << 10


class Exit(NamedTuple):
    """How a process ended: exactly one of `code` and `signal` is set."""

    code: int | None
    signal: int | None


class Process:
    """A running child. Its pipes are non-blocking file descriptors; closing them is the owner's business."""

    def __init__(self, popen: "subprocess.Popen[bytes]", cookie: str) -> None:
        self._popen = popen
        self._cookie = cookie
        self.pid = popen.pid
        self._pidfd = os.pidfd_open(popen.pid)
        self.stdin = _own(popen.stdin)
        self.stdout = _own(popen.stdout)
        self.stderr = _own(popen.stderr)
        self._exit: Exit | None = None

    async def wait_exit(self) -> None:
        """Wait until the leader has ended. It stays a zombie until `reap`."""
        await anyio.wait_readable(self._pidfd)

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the process group. Safe until `reap`: the leader's number cannot be given away before."""
        if self._exit is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def end_family(self) -> int:
        """Kill what is left of the group and of the cookie's bearers; give how many were found outside the group."""
        self.signal_group(signal.SIGKILL)
        return await to_thread.run_sync(kill_marked, self._cookie)

    def reap(self) -> Exit:
        """Take the exit status, once the leader has ended. Again gives the same."""
        if self._exit is None:
            code = self._popen.wait()
            self._exit = Exit(None, -code) if code < 0 else Exit(code, None)
            os.close(self._pidfd)
        return self._exit


def spawn(argv: Sequence[str], env: Mapping[str, str], cwd: str | None, *, stderr_to_stdout: bool = False) -> Process:
    """Start a program in its own session and process group, with pipes for stdin, stdout and stderr. Blocks.

    Raises:
        OSError: the program cannot be executed or the folder not be entered.
    """
    cookie = secrets.token_hex(16)
    popen = subprocess.Popen(
        list(argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if stderr_to_stdout else subprocess.PIPE,
        cwd=cwd,
        env={**env, COOKIE: cookie},
        start_new_session=True,
        bufsize=0,
    )
    return Process(popen, cookie)


def kill_marked(cookie: str) -> int:
    """Kill every process whose environment bears the cookie; give how many there were. Blocks."""
    mark = f"{COOKIE}={cookie}".encode()
    killed = 0
    for _ in range(SWEEPS):
        found = [pid for pid in _pids() if _bears(pid, mark) and _kill(pid, mark)]
        if not found:
            break
        killed += len(found)
    return killed


def _own(stream: object) -> int:
    """Take the descriptor out of Popen's hands: nobody else closes it, and it never blocks."""
    if stream is None:
        return -1
    descriptor = os.dup(stream.fileno())  # type: ignore[attr-defined]
    stream.close()  # type: ignore[attr-defined]
    os.set_blocking(descriptor, False)
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return descriptor


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def _bears(pid: int, mark: bytes) -> bool:
    try:
        descriptor = os.open(f"/proc/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return mark in os.read(descriptor, _ENVIRON_BYTES)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _kill(pid: int, mark: bytes) -> bool:
    """Kill by pidfd, after a second look through it: the number may mean a stranger by now, the pidfd cannot."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not _bears(pid, mark):
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True
