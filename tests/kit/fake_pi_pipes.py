"""A program on three pipes, for tests that need the raw bytes, signals and exit codes of an agent.

Every wait ends after PATIENCE_S with an error that shows what was read last; leaving the context kills the group
and closes everything. Lines are split on byte 0x0A only.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import termios
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

PATIENCE_S = 15.0
"""The longest wait for anything."""
READ_BYTES = 1 << 20
FULL_PIPE = 60_000
"""Bytes in a pipe of 65,536 when the next write of a page does not fit any more."""


class Pipes:
    """A running program; use it as a context manager."""

    def __init__(self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> None:
        self.heard: list[dict[str, Any]] = []
        self._rest = bytearray()
        self._errors = bytearray()
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=cwd,
            env=None if env is None else dict(env),
            start_new_session=True,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(PATIENCE_S)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe
            pipe.close()

    def send(self, kind: str, **fields: Any) -> None:
        """Send one command; its id is its type unless one is given."""
        self.send_bytes(json.dumps({"id": kind, "type": kind, **fields}).encode() + b"\n")

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        assert self._process.stdin
        while data:
            data = data[self._process.stdin.write(data) or 0 :]

    def close_stdin(self) -> None:
        """End its input."""
        assert self._process.stdin
        self._process.stdin.close()

    def signal(self, number: signal.Signals) -> None:
        """Signal the process itself, not its group."""
        self._process.send_signal(number)

    def until(self, wanted: str | Callable[[dict[str, Any]], bool], **fields: Any) -> dict[str, Any]:
        """Read on until a line of this type with these fields (or for which the function holds); return it."""

        def matches(line: dict[str, Any]) -> bool:
            if callable(wanted):
                return wanted(line)
            return line.get("type") == wanted and fields.items() <= line.items()

        while True:
            line = json.loads(self.line())
            self.heard.append(line)
            if isinstance(line, dict) and matches(line):
                return line

    def answer(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a command and read until its response, which is returned."""
        self.send(kind, **fields)
        return self.until("response", id=fields.get("id", kind))

    def line(self) -> bytes:
        """The next line without its newline."""
        deadline = time.monotonic() + PATIENCE_S
        while (end := self._rest.find(b"\n")) < 0:
            if not self._fill(deadline):
                raise AssertionError(f"no line; it ended or was silent: {self._story()}")
        line = bytes(self._rest[:end])
        del self._rest[: end + 1]
        return line

    def rest(self) -> bytes:
        """All that it still says until its output ends."""
        deadline = time.monotonic() + PATIENCE_S
        while self._fill(deadline):
            pass
        data, self._rest = bytes(self._rest), bytearray()
        return data

    def lines(self) -> list[Any]:
        """All lines that it still says until its output ends."""
        return [json.loads(line) for line in self.rest().split(b"\n") if line]

    def errors(self) -> str:
        """What it said on stderr until its end."""
        self.rest()
        return self._errors.decode("utf-8", "replace")

    def wait(self) -> int:
        """Its exit code; negative for a signal."""
        return self._process.wait(PATIENCE_S)

    def stuck(self) -> bool:
        """Whether its stdout holds as much as a pipe can, nearly, and nobody has read it."""
        assert self._process.stdout
        waiting = array("i", [0])
        fcntl.ioctl(self._process.stdout, termios.FIONREAD, waiting)
        return waiting[0] >= FULL_PIPE

    def _fill(self, deadline: float) -> bool:
        """Read what is there; False at the end of stdout."""
        assert self._process.stdout
        assert self._process.stderr
        watched = [self._process.stdout, self._process.stderr]
        while True:
            ready, _, _ = select.select(watched, [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError(f"silent for too long: {self._story()}")
            if self._process.stderr in ready:
                said = os.read(self._process.stderr.fileno(), READ_BYTES)
                self._errors += said
                if not said:
                    watched.remove(self._process.stderr)
            if self._process.stdout in ready:
                data = os.read(self._process.stdout.fileno(), READ_BYTES)
                self._rest += data
                if not data:
                    self._drain_errors()
                return bool(data)

    def _drain_errors(self) -> None:
        assert self._process.stderr
        while select.select([self._process.stderr], [], [], 0)[0]:
            said = os.read(self._process.stderr.fileno(), READ_BYTES)
            self._errors += said
            if not said:
                return

    def _story(self) -> str:
        last = [json.dumps(line)[:200] for line in self.heard[-5:]]
        return "\n".join([*last, f"unread: {bytes(self._rest[:300])!r}", f"stderr: {bytes(self._errors[-1000:])!r}"])


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        return False
    return stat.rsplit(b") ", 1)[1][:1] not in (b"Z", b"X")


def wait_for(true: Callable[[], bool], what: str) -> None:
    """Look every 5 ms until it is true, at most PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"never happened: {what}")
        select.select([], [], [], 0.005)
