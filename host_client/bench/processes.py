"""The processes that the harness starts: a daemon of its own, and the floor. Each is a context that ends what it began.

A daemon gets a folder of its own for state, socket, settings and log, on the disk where temporary files lie, and goes
with it. It must not know what is measured.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import Final, Self

from host_client.bench.probe import BenchError, Probe, connect, elapsed_ms
from host_client.bench.system import interpreter
from host_client.dial import Target, read_address
from taskd.model.address import TcpAddress, UnixAddress

START_SECONDS: Final = 20.0
"""The longest wait for a program to listen; only one that does not start reaches it."""
STOP_SECONDS: Final = 15.0
"""From SIGTERM to SIGKILL: more than a daemon's own `shutdown_seconds`."""
POLL_SECONDS: Final = 0.0002
"""Between two attempts to connect while a program starts: the error of what is measured."""
LOG_TAIL_BYTES: Final = 2000

DAEMON: Final = (sys.executable, "-m", "taskd")


class Daemon:
    """A daemon that serves the instant agent at a unix socket.

    Args:
        command: how to run `taskd`, without `serve`.
        settings: TOML text for the top of its settings file, before any table.
        limits: entries of `[limits]`.
    """

    def __init__(
        self, command: Sequence[str] = DAEMON, settings: str = "", limits: Mapping[str, float] | None = None
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="taskd-bench-"))
        self.target = UnixAddress(str(self.folder / "taskd.sock"))
        config = self.folder / "taskd.toml"
        config.write_text(_settings(settings, limits or {}))
        self._command = [*command, "serve", "--config", str(config), "--state-dir", str(self.folder / "state")]
        self._command += ["--listen", str(self.target), "--log-format", "json"]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> float:
        """Start it and give the milliseconds until it accepted a connection.

        Raises:
            BenchError: it ended instead, or does not listen.
        """
        with (self.folder / "log").open("ab") as log:
            began = perf_counter()
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until_accepts(self.target, self._process, self.log_tail)
        return elapsed_ms(began)

    def stop(self) -> None:
        """Stop it in order."""
        if self._process is not None:
            _end(self._process)
            self._process = None

    def log_tail(self) -> str:
        """Give the end of its log."""
        return (self.folder / "log").read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace")


class Floor:
    """The floor for a daemon at `target`: over TCP for one behind TCP, else over a unix socket."""

    def __init__(self, target: Target, dialect: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="taskd-bench-floor-"))
        where = "tcp" if isinstance(target, TcpAddress) else f"unix:{self._folder}/floor.sock"
        program = Path(__file__).with_name("floor.py")
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(program), where], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        said = os.read(self._process.stdout.fileno(), 4096).decode().strip()
        self.probe = Probe(read_address(said), dialect)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.probe.close()
        _end(self._process)
        shutil.rmtree(self._folder, ignore_errors=True)


def until_accepts(target: Target, process: "subprocess.Popen[bytes]", why: object = None) -> None:
    """Wait until a program that was started accepts a connection.

    Raises:
        BenchError: it ended, or does not listen in time; `why()` is quoted.
    """
    deadline = monotonic() + START_SECONDS
    while monotonic() < deadline and process.poll() is None:
        try:
            connect(target).close()
        except OSError:
            sleep(POLL_SECONDS)
        else:
            return
    raise BenchError(f"{process.args!r} does not listen at {target}" + (f":\n{why()}" if callable(why) else ""))


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _settings(top: str, limits: Mapping[str, float]) -> str:
    command = ", ".join(f'"{word}"' for word in interpreter("agent.py"))
    agent = f'default_agent = "bench"\n[agents.bench]\nprotocol = "pi"\ncommand = [{command}]\n'
    bounds = "".join(f"{name} = {value}\n" for name, value in limits.items())
    return f"{top}{agent}[limits]\n{bounds}"
