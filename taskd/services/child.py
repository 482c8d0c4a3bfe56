"""One incarnation of a task's agent: its process, its pumps, its stop ladder.

Whatever the agent does on its pipes, stdout is always drained, the exit is told once, and nothing of the process group
is left. Output that was written before the exit is told before it, although a helper may hold the pipe (bounded by
drain_seconds).
"""

import signal
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import structlog
from anyio import to_thread

from taskd.agents.base import AgentCodec, LaunchSpec
from taskd.model.agent import Command, Said
from taskd.model.limits import Limits
from taskd.services.pipes import PipeReader, PipeWriter, close_quietly
from taskd.services.process import Exit, Process, spawn


class Child:
    """A running agent.

    Args:
        name: task and incarnation, for logs.
        codec: the tongue of this incarnation.
        heard: called with what the agent said and the raw lines it said it in.
        wants_raw: whether a host wants those lines now; to keep them costs more than to read them.
        limits: the bounds of pumps and ladder.
    """

    def __init__(
        self,
        name: Mapping[str, Any],
        codec: AgentCodec,
        heard: Callable[[list[Said], list[bytes]], None],
        wants_raw: Callable[[], bool],
        limits: Limits,
    ) -> None:
        self._log = structlog.get_logger("taskd.child").bind(**name)
        self._codec = codec
        self._heard = heard
        self._wants_raw = wants_raw
        self._limits = limits
        self._process: Process | None = None
        self._stdin: PipeWriter | None = None
        self._stop = anyio.Event()
        self._ended = anyio.Event()
        self._stderr_tail = b""

    async def spawn(self, launch: LaunchSpec, env: Mapping[str, str], cwd: str) -> None:
        """Start the process and say hello.

        Raises:
            OSError: the program cannot be executed.
        """
        self._process = await to_thread.run_sync(spawn, launch.argv, {**env, **launch.env}, cwd)
        self._stdin = PipeWriter(self._process.stdin, self._limits.stdin_queue_bytes)
        self._codec.start()
        self._write()

    def tell(self, command: Command) -> bool:
        """Say something to the agent; False when it does not read its stdin."""
        self._codec.send(command)
        return self._write()

    def stop(self) -> None:
        """Start the stop ladder. Again is nothing."""
        self._stop.set()

    async def run(self) -> tuple[Exit, str]:
        """Pump until the process is gone; give how it ended, and the end of its stderr."""
        process, stdin = self._process, self._stdin
        assert process is not None
        assert stdin is not None
        try:
            await self._pump(process, stdin)
        finally:
            with anyio.CancelScope(shield=True):
                strays = await process.end_family()
                await process.wait_exit()
                process.reap()
            stdin.drop()
        if strays:
            self._log.info("killed what the agent left behind", processes=strays)
        return process.reap(), self._stderr_tail.decode("utf-8", "replace")

    async def _pump(self, process: Process, stdin: PipeWriter) -> None:
        """Move bytes until the process has ended and its pipes are empty, or drain_seconds after its end."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._pump_stdin, stdin)
            group.start_soon(self._ladder, process, stdin)
            async with anyio.create_task_group() as pumps:
                pumps.start_soon(self._pump_stdout, process)
                pumps.start_soon(self._pump_stderr, process)
                await process.wait_exit()
                self._ended.set()
                pumps.cancel_scope.deadline = anyio.current_time() + self._limits.drain_seconds
            group.cancel_scope.cancel()

    async def _pump_stdin(self, stdin: PipeWriter) -> None:
        """Write until the pipe is closed. An agent that has closed its end hears nothing any more: it is stopped."""
        await stdin.run()
        if not self._stop.is_set():
            self._log.warning("agent has closed its stdin; stopping it")
            self._stop.set()

    async def _pump_stdout(self, process: Process) -> None:
        reader = PipeReader(process.stdout, self._limits.child_read_bytes)
        try:
            while data := await reader.read():
                self._feed(data)
        except OSError as error:
            self._log.warning("stdout broke", error=str(error))
        finally:
            self._feed(b"")
            close_quietly(process.stdout)

    def _feed(self, data: bytes) -> None:
        self._codec.keep_raw = self._wants_raw()
        said = self._codec.feed(data)
        self._write()
        self._heard(said, self._codec.raw_lines())

    def _write(self) -> bool:
        assert self._stdin is not None
        data = self._codec.outgoing()
        return self._stdin.write(data) if data else True

    async def _pump_stderr(self, process: Process) -> None:
        reader = PipeReader(process.stderr, self._limits.channel_read_bytes)
        try:
            while data := await reader.read():
                self._stderr_tail = (self._stderr_tail + data)[-self._limits.stderr_tail_bytes :]
                self._log.debug("stderr", text=data[:512].decode("utf-8", "replace"), size=len(data))
        except OSError as error:
            self._log.warning("stderr broke", error=str(error))
        finally:
            close_quietly(process.stderr)

    async def _ladder(self, process: Process, stdin: PipeWriter) -> None:
        """Close stdin, then SIGTERM, then SIGKILL; each rung is left as soon as the process ends."""
        await self._stop.wait()
        stdin.close()
        if await self._gone_within(self._limits.stop_eof_seconds):
            return
        process.signal_group(signal.SIGTERM)
        if await self._gone_within(self._limits.stop_term_seconds):
            return
        self._log.warning("agent ignores stdin's end and SIGTERM; killing it")
        process.signal_group(signal.SIGKILL)
        if not await self._gone_within(self._limits.stop_kill_seconds):
            self._log.error("agent survives SIGKILL", pid=process.pid)

    async def _gone_within(self, seconds: float) -> bool:
        with anyio.move_on_after(seconds):
            await self._ended.wait()
        return self._ended.is_set()
