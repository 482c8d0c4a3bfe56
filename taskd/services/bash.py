"""`system_bash`: a shell command for the host itself, bounded in time, output and number, its whole family ended.

The answer never waits for a pipe that a background helper holds: it is due when the shell has ended, or its time is up.
"""

import signal
from codecs import getincrementaldecoder
from collections.abc import Mapping

import anyio
from anyio import to_thread

from taskd.model.calls import BashResult, SystemBash
from taskd.model.errors import Code, TaskdError
from taskd.model.limits import Limits
from taskd.services.pipes import PipeReader, close_quietly
from taskd.services.process import Exit, Process, spawn

TIMED_OUT = 124
"""Exit code of a command whose time was up, as timeout(1) gives it."""


class Shell:
    """Runs commands for hosts.

    Args:
        env: the environment of every command.
        limits: time, output and number.
    """

    def __init__(self, env: Mapping[str, str], limits: Limits) -> None:
        self._env = env
        self._limits = limits
        self._running = 0

    async def run(self, params: SystemBash, base: str | None) -> BashResult:
        """Run one command to its end.

        Args:
            params: what to run, where, and for how long.
            base: the folder that a relative `cwd` starts from.

        Raises:
            TaskdError: `INVALID_PARAMS`, or `OVERLOADED` when too many run.
        """
        cwd = _folder(params, base)
        seconds = min(params.timeout_seconds or self._limits.bash_seconds, self._limits.bash_max_seconds)
        if self._running >= self._limits.bash_concurrent:
            raise TaskdError(Code.OVERLOADED, f"{self._running} commands run already (limit bash_concurrent)")
        self._running += 1
        try:
            return await self._run(params.command, cwd, seconds)
        finally:
            self._running -= 1

    async def _run(self, command: str, cwd: str | None, seconds: float) -> BashResult:
        process = await to_thread.run_sync(_start, command, self._env, cwd)
        close_quietly(process.stdin)
        output = _Output(self._limits.bash_output_bytes)
        timed_out = False
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_collect, process, output, self._limits.channel_read_bytes)
                with anyio.move_on_after(seconds) as scope:
                    await process.wait_exit()
                timed_out = scope.cancelled_caught
                process.signal_group(signal.SIGKILL)
                group.cancel_scope.deadline = anyio.current_time() + self._limits.drain_seconds
        finally:
            with anyio.CancelScope(shield=True):
                await process.end_family()
                await process.wait_exit()
                process.reap()
            close_quietly(process.stdout)
        return _result(output, process.reap(), timed_out, cwd)


class _Output:
    """The kept beginning of a command's output, and the count of what was dropped."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self._kept: list[bytes] = []
        self.dropped = 0

    def take(self, data: bytes) -> None:
        """Keep what fits."""
        kept = data[: self._left]
        self._left -= len(kept)
        self.dropped += len(data) - len(kept)
        if kept:
            self._kept.append(kept)

    def text(self) -> str:
        """Give what was kept; a character cut by the bound is left out, bytes that are no UTF-8 are replaced."""
        decoder = getincrementaldecoder("utf-8")("replace")
        return decoder.decode(b"".join(self._kept), final=not self.dropped)


async def _collect(process: Process, output: _Output, read_bytes: int) -> None:
    reader = PipeReader(process.stdout, read_bytes)
    while data := await reader.read():
        output.take(data)


def _start(command: str, env: Mapping[str, str], cwd: str | None) -> Process:
    try:
        return spawn(("/bin/sh", "-lc", command), env, cwd, stderr_to_stdout=True)
    except (OSError, ValueError) as error:
        raise TaskdError(Code.INVALID_PARAMS, f"cannot run the command: {error}") from error


def _folder(params: SystemBash, base: str | None) -> str | None:
    if "\0" in params.command:
        raise TaskdError(Code.INVALID_PARAMS, "command holds a NUL byte", details={"field": "command"})
    wanted = params.cwd or params.working_directory
    if not wanted:
        return base
    if "\0" in wanted:
        raise TaskdError(Code.INVALID_PARAMS, "cwd holds a NUL byte", details={"field": "cwd"})
    if wanted.startswith("/"):
        return wanted
    if base is None:
        raise TaskdError(Code.INVALID_PARAMS, "a relative cwd needs an active task", details={"field": "cwd"})
    return f"{base}/{wanted}"


def _result(output: _Output, exit: Exit, timed_out: bool, cwd: str | None) -> BashResult:
    code = exit.code if exit.code is not None else 128 + (exit.signal or 0)
    return BashResult(
        output=output.text(),
        exit_code=TIMED_OUT if timed_out else code,
        timed_out=timed_out,
        truncated=output.dropped > 0,
        dropped_bytes=output.dropped,
        cwd=cwd,
    )
