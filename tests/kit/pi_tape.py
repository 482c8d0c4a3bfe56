"""One real agent process on pipes, and a tape of every line that goes over them in either direction.

For tests and recordings that speak rpc with pi itself, without the daemon between. Lines are split at byte 0x0A only.
The reader takes lines only when it is asked to expect one, so the tape has them in the order the conversation had:
what was sent after an answer stands after it.

Rules: every wait ends after `PATIENCE_S` with an error that shows the last lines and what pi said on stderr; leaving
the tape ends the process (end of file on its stdin, then SIGKILL) and reads what it said until then.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

PATIENCE_S = 20.0
"""The longest wait for one expected line: far above the start of the slowest pi, below the limit of a test."""
EXIT_S = 5.0
"""How long a process may take to end after its stdin has ended; pi takes less than 0.1 s."""
READ_BYTES = 1 << 16
SHOWN_LINES = 8


@dataclass(frozen=True)
class TapeLine:
    """A line `sent` to the agent or said by it. `value` is its JSON, or its text where it is none."""

    sent: bool
    value: Any


class PiTape:
    """A running agent; use it as a context manager.

    `lines` is the tape. `returncode` is known after leaving it.
    """

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> None:
        self.lines: list[TapeLine] = []
        self.returncode: int | None = None
        self._buffer = bytearray()
        self._ended = False
        # Closed in `close`; a pipe that nobody reads could fill and stop the agent.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=dict(env),
            cwd=cwd,
            bufsize=0,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, command: Mapping[str, Any]) -> None:
        self._write(json.dumps(command), command)

    def send_text(self, text: str) -> None:
        """A line that is not JSON, or not an object."""
        self._write(text, text)

    def expect(self, **fields: Any) -> Any:
        """Read until a line that has all these fields at its top level, and return it.

        :raises AssertionError: the agent ended, or said nothing of the kind for `PATIENCE_S`
        """
        return self.expect_that(str(fields), lambda line: fields.items() <= line.items())

    def expect_all(self, *wanted: Mapping[str, Any]) -> None:
        """Read until each of these was said, in any order: for answers that events may overtake."""
        missing = list(wanted)

        def matches(line: dict[str, Any]) -> bool:
            missing[:] = [fields for fields in missing if not fields.items() <= line.items()]
            return not missing

        self.expect_that(f"all of {wanted}", matches)

    def expect_that(self, wanted: str, matches: Callable[[dict[str, Any]], bool]) -> Any:
        """Read until a line for which `matches` holds; `wanted` says in words what is waited for."""
        deadline = time.monotonic() + PATIENCE_S
        while (line := self._next(deadline)) is not None:
            self.lines.append(TapeLine(False, line))
            if isinstance(line, dict) and matches(line):
                return line
        raise AssertionError(f"pi did not say: {wanted}\n{self._story()}")

    def close(self) -> None:
        """End the process and take what it still says; a second call does nothing."""
        if self.returncode is not None:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        deadline = time.monotonic() + EXIT_S
        while (line := self._next(deadline)) is not None:
            self.lines.append(TapeLine(False, line))
        try:
            self.returncode = self._process.wait(EXIT_S)
        except subprocess.TimeoutExpired:
            # A tool's own session is not in this group: a scenario that leaves one running ends it itself.
            os.killpg(self._process.pid, signal.SIGKILL)
            self.returncode = self._process.wait()
        self._process.stdout.close()
        self._stderr.close()

    def _write(self, text: str, value: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode() + b"\n")
        self.lines.append(TapeLine(True, value))

    def _next(self, deadline: float) -> Any:
        """The next line as JSON or text; None when the agent has ended or the deadline has passed."""
        while (end := self._buffer.find(b"\n")) < 0:
            if self._ended or not self._fill(deadline):
                return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            return json.loads(line)
        except ValueError:
            return line.decode("utf-8", "backslashreplace")

    def _fill(self, deadline: float) -> bool:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        data = os.read(self._process.stdout.fileno(), READ_BYTES) if ready else b""
        self._buffer += data
        self._ended = bool(ready) and not data
        return bool(data)

    def _story(self) -> str:
        self._stderr.seek(0)
        said = self._stderr.read().decode("utf-8", "replace")
        shown = [f"{'>' if line.sent else '<'} {json.dumps(line.value)[:300]}" for line in self.lines[-SHOWN_LINES:]]
        return "\n".join([*shown, f"stderr: {said[-1000:]}"])
