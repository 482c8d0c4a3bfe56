"""One shell command: its process, its pipe, its end.

The command leads a session of its own (setsid), so a signal to its group reaches everything that did not leave on
purpose. Both outputs share one pipe, so their order is kept; stdin is /dev/null. When the shell exits it writes its
directory into a memory file of ours, which is how `cd` lasts; it reaches that file through /proc, so that a script may
use every descriptor for itself.

It is over when the leader has exited and the pipe is at its end, or silent for DRAIN_IDLE_S (a background job has it).
RACE: the leader is reaped last of all. Its zombie keeps the group number ours, so a signal can never reach strangers.
"""

from __future__ import annotations

import os
import signal

from .limits import DRAIN_IDLE_S, DRAIN_LIMIT_S, KILL_WAIT_S, LEFTOVER_PIPES, READ_SIZE
from .loop import READABLE, Loop, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

WRAPPER = 'trap "pwd 2>/dev/null >|%s" EXIT; eval "shift;$1"'
"""The prompt is evaluated with no positional parameters of ours left; its exit status passes through the trap."""

_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT)

_leftovers: list[int] = []
"""Pipes of background jobs whose command is over, oldest first; at most LEFTOVER_PIPES."""


class CannotStartError(Exception):
    """The command was not started; the text says why."""


class Command:
    """A running command, started in `directory`. Raises CannotStartError.

    `on_output` gets raw bytes; `on_end` the exit code (negative: a signal) and the last directory, None if unknown.
    """

    def __init__(
        self,
        loop: Loop,
        shell: str,
        script: str,
        directory: str,
        on_output: Callable[[bytes], None],
        on_end: Callable[[int, str | None], None],
    ) -> None:
        self._loop = loop
        self._on_output = on_output
        self._on_end = on_end
        self._exited = False
        self._stopping = False
        self._paused = False
        self._over = False
        self._pipe, self._report, self._pid = _spawn(shell, script, directory)
        self._at_end = False
        loop.watch(self._pipe, READABLE, self._readable)

    def pause(self) -> None:
        """Read no more output until `resume`: the command waits when its pipe is full."""
        if not (self._paused or self._stopping or self._at_end):
            self._paused = True
            self._loop.forget(self._pipe)

    def resume(self) -> None:
        """Read output again after a pause."""
        if self._paused:
            self._paused = False
            self._loop.watch(self._pipe, READABLE, self._readable)
            if self._exited and not self._stopping:
                self._start_draining()

    def stop(self, grace: float) -> None:
        """TERM to the group, KILL after `grace` seconds; what it still prints is dropped."""
        if not self._stopping:
            self._stopping = True
            self.resume()
            self._loop.cancel("drain", "drain-limit")
            self._signal(signal.SIGTERM)
            self._loop.after("kill", grace, self.kill)

    def kill(self) -> None:
        """KILL to the group now."""
        self._stopping = True
        self._signal(signal.SIGKILL)
        if self._exited:
            self._end()
        else:
            self._loop.after("kill", KILL_WAIT_S, self._end)

    def child_changed(self) -> None:
        """To be called after SIGCHLD."""
        if self._exited or not os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        self._exited = True
        if self._at_end:
            self._end()
        elif not self._stopping:
            self._start_draining()

    def _start_draining(self) -> None:
        self._loop.after("drain", DRAIN_IDLE_S, self._drained)
        self._loop.after("drain-limit", DRAIN_LIMIT_S, self._drained)

    def _drained(self) -> None:
        if not self._paused:  # silence means nothing then: `resume` starts the clock again
            self._end()

    def _readable(self) -> None:
        data = read(self._pipe)
        if data is None:
            return
        if not data:
            self._at_end = True
            self._loop.forget(self._pipe)
            os.close(self._pipe)
            if self._exited:
                self._end()
            return
        if self._exited and not self._stopping:
            self._loop.after("drain", DRAIN_IDLE_S, self._drained)
        if not self._stopping:
            self._on_output(data)

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._pid, number)
        except (ProcessLookupError, PermissionError):
            return  # everyone in it has gone or has become another user

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self._loop.cancel("drain", "drain-limit", "kill")
        if self._stopping:
            self._signal(signal.SIGKILL)
        if not self._at_end:
            self._leave_pipe()
        directory = os.fsdecode(os.pread(self._report, READ_SIZE, 0).removesuffix(b"\n"))
        os.close(self._report)
        self._on_end(self._reap(), directory or None)

    def _reap(self) -> int:
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else -signal.SIGKILL

    def _leave_pipe(self) -> None:
        """Keep a background job's pipe open and empty it, so that its next write does not kill it."""
        pipe = self._pipe
        self._loop.watch(pipe, READABLE, lambda: _discard(self._loop, pipe))
        _leftovers.append(pipe)
        if len(_leftovers) > LEFTOVER_PIPES:
            _forget(self._loop, _leftovers[0])


def _discard(loop: Loop, pipe: int) -> None:
    if read(pipe) == b"":
        _forget(loop, pipe)


def _forget(loop: Loop, pipe: int) -> None:
    loop.forget(pipe)
    _leftovers.remove(pipe)
    os.close(pipe)


def _spawn(shell: str, script: str, directory: str) -> tuple[int, int, int]:
    """Start the shell; its output pipe (to read, non-blocking), its directory file and its pid."""
    try:
        out_read, out_write = os.pipe()
    except OSError as error:
        raise CannotStartError(error.strerror) from None
    report = -1
    try:
        report = os.memfd_create("directory")
        os.set_blocking(out_read, False)
        os.chdir(directory)  # ours follows the command's: posix_spawn knows no directory of its own
        pid = os.posix_spawn(
            shell,
            _argv(shell, script, report),
            {**os.environ, "PWD": directory},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, out_write, 1),
                (os.POSIX_SPAWN_DUP2, out_write, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=_IGNORED_BY_PYTHON,
        )
    except (OSError, ValueError) as error:
        os.close(out_read)
        if report >= 0:
            os.close(report)
        raise CannotStartError(error.strerror if isinstance(error, OSError) else str(error)) from None
    finally:
        os.close(out_write)
    return out_read, report, pid


def _argv(shell: str, script: str, report: int) -> list[str | bytes]:
    name = os.path.basename(shell)
    return [name, "-c", WRAPPER % f"/proc/{os.getpid()}/fd/{report}", name, script.encode("utf-8", "replace")]
