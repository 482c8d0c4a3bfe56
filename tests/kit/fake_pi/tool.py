"""The tools of the fake pi. bash really runs, in a session of its own as pi's does, so it can outlive a killed pi."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

from .talk import Json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import Popen

    from .agent import FakePi

SHOWN = 50 << 10
"""Bytes of output that updates and results show, as pi's bash tool does."""


class ToolProcess:
    """One tool call at work."""

    def __init__(self, pi: FakePi, call: Json) -> None:
        self.text = ""
        self._announced = False
        self._process: Popen[bytes] | None = None
        self._done: int | None = None
        arguments: dict[str, Any] = call["arguments"]
        if call["name"] == "bash":
            self._spawn(str(arguments.get("command", "")), pi.session.cwd)
        elif call["name"] == "write":
            pi.place(str(arguments["path"])).write_text(str(arguments.get("content", "")))
            self.text, self._done = f"Successfully wrote to {arguments['path']}", 0
        else:
            self.text, self._done = f"{call['name']} done", 0

    def progress(self) -> Iterator[Json]:
        """The partial results that are new: cumulative text, the end of it."""
        if self._process is None:
            return
        if not self._announced:
            self._announced = True
            yield {"content": []}  # that of every tool of the message comes before anybody's output
            return
        exited = self._process.poll() is not None
        if data := self._read():
            self.text = (self.text + data.decode("utf-8", "replace"))[-SHOWN:]
            yield {"content": [{"type": "text", "text": self.text}], "details": {}}
        elif exited:
            self._done = self._process.returncode
            self._close()

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._done

    def final_text(self, code: int) -> str:
        """The text of the result."""
        return f"{self.text}\n\nCommand exited with code {code}" if code else self.text or "(no output)"

    def kill(self) -> str:
        """KILL its group; what it had printed."""
        if self._process is not None and self._done is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            if data := self._read():
                self.text += data.decode("utf-8", "replace")
            self._close()
        return self.text

    def _spawn(self, command: str, cwd: str) -> None:
        from subprocess import DEVNULL, PIPE, STDOUT, Popen

        argv = ["/bin/sh", "-c", command]
        self._process = Popen(argv, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, cwd=cwd, start_new_session=True)
        assert self._process.stdout
        os.set_blocking(self._process.stdout.fileno(), False)

    def _read(self) -> bytes:
        assert self._process
        assert self._process.stdout
        if self._process.stdout.closed:
            return b""
        return self._process.stdout.read() or b""

    def _close(self) -> None:
        if self._process and self._process.stdout:
            self._process.stdout.close()
