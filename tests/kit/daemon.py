"""A real daemon as a subprocess, and a plain host that speaks lines to it. All waits are bounded.

with Daemon(tmp_path) as daemon, daemon.connect("unix") as host:
    host.call("create_or_open_task", taskId="a")
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

PATIENCE_SECONDS = 20.0
"""The longest wait for anything; only a hang reaches it."""

FAKE_PI = (sys.executable, "-m", "tests.kit.fake_pi")


class Refused(Exception):
    """The daemon answered with an error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error))
        self.code = error.get("data", error)["code"]
        self.error = error


class Host:
    """One channel, in either dialect, over anything that sends and receives bytes."""

    def __init__(self, send: Callable[[bytes], None], receive: Callable[[], bytes], close: Callable[[], None]) -> None:
        self.send_bytes = send
        self._receive = receive
        self.close = close
        self._rest = b""
        self._calls = 0
        self.seen: list[dict[str, Any]] = []
        """Every line of the daemon, in order."""
        self._unread = 0

    def __enter__(self) -> "Host":
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def send(self, message: Any) -> None:
        """Send one JSON value as a line."""
        self.send_bytes(json.dumps(message).encode() + b"\n")

    def line(self) -> dict[str, Any]:
        """Take the next line; ConnectionError at the end of the channel."""
        while b"\n" not in self._rest:
            data = self._receive()
            if not data:
                raise ConnectionError("the daemon closed the channel")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        self.seen.append(message)
        return message

    def until(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Take lines until one fits; lines seen since the last `until` count first."""
        while True:
            while self._unread < len(self.seen):
                self._unread += 1
                if fits(self.seen[self._unread - 1]):
                    return self.seen[self._unread - 1]
            self.line()

    def call(self, method: str, /, **params: Any) -> Any:
        """Call by JSON-RPC; give the result.

        Raises:
            Refused: the answer was an error.
        """
        return self.result(self.ask(method, **params))

    def ask(self, method: str, /, **params: Any) -> int:
        """Send a JSON-RPC request; give its id."""
        self._calls += 1
        self.send({"jsonrpc": "2.0", "id": self._calls, "method": method, "params": params})
        return self._calls

    def result(self, call: Any) -> Any:
        """Wait for the answer of a request."""
        answer = next((line for line in self.seen if is_answer(line, call)), None) or self._await(call)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]

    def event(self, name: str, task: str | None = None) -> dict[str, Any]:
        """Wait for an event; give its params (JSON-RPC) or the whole line (P0)."""
        found = self.until(lambda line: event_name(line) == name and task in (None, event_task(line)))
        return found.get("params", found)  # type: ignore[no-any-return]

    def names(self) -> list[str]:
        """Give what was seen as words: event names, and `answer` or `error` for answers."""
        return [event_name(line) or ("error" if "error" in line else "answer") for line in self.seen]

    def open(self, task: str, **params: Any) -> Any:
        """Open a task and make it active."""
        result = self.call("create_or_open_task", taskId=task, **params)
        self.call("switch_task", taskId=task)
        self.event("task_ready", task)
        return result

    def turn(self, message: str) -> str:
        """Prompt and wait for the end; give the whole output."""
        self.call("prompt", message=message)
        began = next(i for i in range(len(self.seen) - 1, -1, -1) if is_answer(self.seen[i], self._calls))
        self.event("agent_end")
        lines = self.seen[began:]
        return "".join(line["params"]["chunk"] for line in lines if event_name(line) == "agent_output")

    def _await(self, call: Any) -> dict[str, Any]:
        while True:
            line = self.line()
            if is_answer(line, call):
                return line


class Daemon:
    """A running daemon.

    Args:
        folder: where its state, socket, settings and log go.
        settings: TOML text of its settings file.
        listen: addresses besides its unix socket.
        env: additions to its environment.
        flags: further command line flags.
    """

    def __init__(
        self,
        folder: Path,
        settings: str = "",
        *,
        listen: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        flags: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.socket = folder / "taskd.sock"
        self.log = folder / "taskd.log"
        self._config = folder / "taskd.toml"
        self._config.write_text(settings)
        self._listen = (f"unix:{self.socket}", *listen)
        self._env = {**os.environ, **(env or {})}
        self._flags = flags
        self.process: subprocess.Popen[bytes]

    def command(self, *flags: str) -> list[str]:
        """Give the command line, without addresses."""
        base = [sys.executable, "-m", "taskd", "serve", "--config", str(self._config), "--state-dir", str(self.state)]
        return [*base, "--log-format", "json", *self._flags, *flags]

    def start(self) -> "Daemon":
        """Start it; it takes connections from then on."""
        listen = [flag for address in self._listen for flag in ("--listen", address)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(*listen), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env
            )
        self._wait_for_socket()
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait for its end; give the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def __enter__(self) -> "Daemon":
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        code = self.stop()
        if kind is not None:
            print(self.log.read_text())
        elif code not in (0, -signal.SIGKILL):
            raise AssertionError(f"the daemon ended with {code}:\n{self.log.read_text()}")

    def connect(self) -> Host:
        """Open a channel on its unix socket."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE_SECONDS)
        try:
            sock.connect(str(self.socket))
        except OSError:
            sock.close()
            raise
        return socket_host(sock)

    @contextmanager
    def stdio(self) -> Iterator[Host]:
        """Run it with one channel on its stdin and stdout instead."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.command("--stdio"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=self._env
            )
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def send(data: bytes) -> None:
            stdin.write(data)
            stdin.flush()

        try:
            with Host(send, lambda: os.read(stdout.fileno(), 65536), stdin.close) as host:
                yield host
            assert process.wait(PATIENCE_SECONDS) == 0
        finally:
            process.kill()
            process.wait()
            stdout.close()

    def logged(self) -> list[dict[str, Any]]:
        """Give the log so far."""
        return [json.loads(line) for line in self.log.read_bytes().split(b"\n") if line.startswith(b"{")]

    def _wait_for_socket(self) -> None:
        for _ in range(int(PATIENCE_SECONDS / 0.01)):
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon did not start:\n{self.log.read_text()}")
            try:
                with self.connect() as host:
                    host.call("ping")
            except OSError:
                try:
                    self.process.wait(0.01)
                except subprocess.TimeoutExpired:
                    continue
            else:
                return
        raise AssertionError("the daemon does not listen")


def socket_host(sock: socket.socket) -> Host:
    """Make a host of a connected socket."""
    return Host(sock.sendall, lambda: sock.recv(1 << 20), sock.close)


def is_answer(line: dict[str, Any], call: Any) -> bool:
    """Say whether a line answers that request."""
    return line.get("id") == call and "method" not in line


def event_name(line: dict[str, Any]) -> str | None:
    """Give the name of an event of either dialect."""
    if line.get("type") == "event":
        return str(line["event"])
    return str(line["method"]) if "method" in line else None


def event_task(line: dict[str, Any]) -> str | None:
    """Give the task of an event of either dialect."""
    task: str | None = line.get("taskId") or line.get("params", {}).get("taskId")
    return task


def fake_agent(name: str = "fake", *options: str, default: bool = True) -> str:
    """Give settings with the scripted agent."""
    command = json.dumps([*FAKE_PI, *options])
    root = str(Path(__file__).resolve().parents[2])
    chosen = f'default_agent = "{name}"\n' if default else ""
    return f'{chosen}[agents.{name}]\nprotocol = "pi"\ncommand = {command}\nenv = {{ PYTHONPATH = "{root}" }}\n'
