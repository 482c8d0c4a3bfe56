"""`taskctl` for tests: in this process where that is the same, as a process or on a terminal where it is not.

All waits are bounded by `PATIENCE_SECONDS`.
"""

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from host_client.cli.app import run
from tests.kit.daemon import PATIENCE_SECONDS, Daemon

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "host_client")

_ON_A_TERMINAL = 'tty=$1; shift; exec "$@" <>"$tty" >&0 2>&1'
"""What a session's leader opens first becomes the terminal that ctrl-C comes from."""


class Result(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def values(self):
        """The JSON values of its standard output, one per line."""
        return [json.loads(line) for line in self.out.encode().split(b"\n") if line]

    @property
    def value(self):
        """The only one."""
        (value,) = self.values
        return value


class Taskctl:
    """The command, with a daemon's address."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.address = f"unix:{daemon.socket}"

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Result:
        """Run it in this process, with pipes for standard input and output."""
        return in_process("--address", self.address, *arguments, stdin=stdin)

    def json(self, *arguments: str, stdin: bytes = b"") -> object:
        """Run it with --json; give its one value."""
        result = self("--json", *arguments, stdin=stdin)
        assert result.code == 0, result
        assert result.err == ""
        return result.value

    @contextmanager
    def process(self, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Run it as a process with pipes, for the length of a `with`."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen([*COMMAND, *arguments], env=self.env(), **pipes)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

    def env(self, **additions: str) -> dict[str, str]:
        """Give its environment."""
        return plain_env() | {"TASKD_ADDRESS": self.address} | additions

    def terminal(self, *arguments: str, columns: int = 80, **env: str) -> "Terminal":
        """Start it on a terminal."""
        return Terminal([*COMMAND, *arguments], self.env(TERM="xterm", **env), columns)


def in_process(*arguments: str, stdin: bytes = b"") -> Result:
    """Run a command line in this process, with pipes for standard input and output."""
    streams = sys.stdin, sys.stdout, sys.stderr
    out, err = io.BytesIO(), io.BytesIO()
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
    sys.stdout, sys.stderr = io.TextIOWrapper(out, "utf-8"), io.TextIOWrapper(err, "utf-8")
    try:
        code = run(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        return Result(code, out.getvalue().decode(), err.getvalue().decode())
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams


def plain_env() -> dict[str, str]:
    """Give this process's environment without what would change what is shown."""
    shown = ("TASKD_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "PYTHONWARNINGS")
    env = {key: value for key, value in os.environ.items() if not key.startswith(shown)}
    return env | {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", "TERM": "dumb"}


class Terminal:
    """A process on a terminal, and the person before it."""

    def __init__(self, command: list[str], env: dict[str, str], columns: int = 80) -> None:
        self.seen = ""
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, columns))
        leader = ["/bin/sh", "-c", _ON_A_TERMINAL, "sh", os.ttyname(slave)]
        self.process = subprocess.Popen(
            [*leader, *command], stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True
        )
        os.close(slave)

    def expect(self, text: str) -> str:
        """Read until the text was seen; give all that was seen so far."""
        self._read(lambda: text in self.seen)
        assert text in self.seen, self.seen
        return self.seen

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def end(self) -> tuple[int, str]:
        """Read to the end; give the exit code and all that was seen, with plain line ends."""
        self._read(lambda: False)
        return self.process.wait(PATIENCE_SECONDS), self.seen.replace("\r\n", "\n")

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def _read(self, enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not enough():
            readable, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                raise AssertionError(f"nothing more within {PATIENCE_SECONDS:g} s after:\n{self.seen}")
            try:
                data = os.read(self._master, 65536)
            except OSError:
                # Linux says so when the last process has closed the terminal.
                return
            self.seen += data.decode("utf-8", "replace")


def finish(process: "subprocess.Popen[bytes]", number: signal.Signals | None = None) -> Result:
    """Signal a process, wait for its end, and give what it came to."""
    if number is not None:
        process.send_signal(number)
    try:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
        process.wait()
    return Result(process.returncode, (out or b"").decode(), (err or b"").decode())
