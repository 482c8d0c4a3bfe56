"""The agent as a process: what it hears, when it pauses, how it ends.

End of stdin: save, end the command, exit 0. SIGTERM and SIGHUP: the same with 143 and 129; a second one kills at once.
Pressure: stdout may block as it likes. While much is unwritten the command is not read, so it waits; stdin is read on,
so that abort is heard, until far more is unwritten (OUTBOX_LIMIT).
"""

from __future__ import annotations

import signal

from .commands import Commands
from .limits import EXIT_FLUSH_S, EXIT_GRACE_S, LINE_LIMIT, OUTBOX_LIMIT, OUTBOX_PAUSE, OUTBOX_RESUME
from .loop import READABLE, Loop, Outbox, read
from .wire import LineBuffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .command import Command

STDIN, STDOUT = 0, 1


class Agent:
    """One agent process. Raises SessionError when the session cannot be opened."""

    def __init__(self, loop: Loop, session_path: str | None) -> None:
        self._loop = loop
        self._out = Outbox(loop, STDOUT, lambda: self.leave(0))
        self._commands = Commands(loop, session_path, self._out.put)
        self._lines = LineBuffer(LINE_LIMIT)
        self._leaving: int | None = None
        loop.on_signal(signal.SIGTERM, lambda: self.leave(128 + signal.SIGTERM))
        loop.on_signal(signal.SIGHUP, lambda: self.leave(128 + signal.SIGHUP))
        loop.on_signal(signal.SIGCHLD, self._child_changed)
        loop.watch(STDIN, READABLE, self._hear)

    def serve(self) -> int:
        """Work until told to go; the exit code. Raises SessionError when the session cannot be written."""
        return self._loop.run(self._each_round)

    def leave(self, code: int) -> None:
        """Begin to go; the second time at once."""
        if self._leaving is not None:
            self._hurry()
            return
        self._leaving = code
        self._loop.forget(STDIN)
        self._out.close()
        self._commands.abandon(EXIT_GRACE_S)

    def give_up(self) -> None:
        """Kill the command and save nothing: the session cannot be written any more."""
        command = self._command
        self._commands.abandon(0, save=False)
        if command:
            command.kill()

    @property
    def _command(self) -> Command | None:
        return self._commands.run.command if self._commands.run else None

    def _hurry(self) -> None:
        if command := self._command:
            command.kill()
        else:
            self._loop.stop(self._leaving or 0)

    def _each_round(self) -> None:
        self._out.flush()
        waiting = self._out.size
        if command := self._command:
            if waiting > OUTBOX_PAUSE:
                command.pause()
            elif waiting < OUTBOX_RESUME:
                command.resume()
        if self._leaving is None:
            self._hear_or_not(waiting)
        elif not self._commands.run:
            self._bring_out(waiting)

    def _hear_or_not(self, waiting: int) -> None:
        if waiting > OUTBOX_LIMIT:
            self._loop.forget(STDIN)
        elif not self._loop.watched(STDIN):
            self._loop.watch(STDIN, READABLE, self._hear)

    def _bring_out(self, waiting: int) -> None:
        """Exit when every line is written, at the latest after EXIT_FLUSH_S."""
        if not waiting:
            self._hurry()
        elif not self._loop.pending("exit"):
            self._loop.after("exit", EXIT_FLUSH_S, self._hurry)

    def _hear(self) -> None:
        data = read(STDIN)
        if data is None:
            return
        for line in self._lines.feed(data):
            if self._leaving is None:
                self._commands.handle(line)
        if not data and self._leaving is None:
            self.leave(0)

    def _child_changed(self) -> None:
        if command := self._command:
            command.child_changed()
