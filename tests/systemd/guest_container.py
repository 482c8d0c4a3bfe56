"""One booted guest: systemd as PID 1 of a systemd-nspawn container, on a throw-away overlay of a tree.

A boot takes a third of a second, so each test has a guest of its own. The boot is awaited by systemd's own readiness
message, which nspawn passes on; commands run in the guest by nsenter, since machinectl needs a host under systemd.

Rules: every wait has a limit; `close` leaves no process, no cgroup and no file, whatever state the guest is in.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.systemd import host_cgroups

BOOT_SECONDS = 60.0
"""Boot takes 0.3 s on an idle machine; a busy one may need much more before it is a fault."""
COMMAND_SECONDS = 60.0
HALT_SECONDS = 15.0
WAIT_SECONDS = 45.0
"""For anything the guest does by itself; longer than any restart or stop of the units."""
LINE_BYTES = 1 << 20
SOCKET = "/run/taskd/taskd.sock"


class GuestError(Exception):
    """The guest did not do what was asked in time; the text holds the end of its console or output."""


class Guest:
    """A running container. Make it with `booted`."""

    def __init__(self, name: str, folder: Path) -> None:
        self._folder = folder
        self._groups = host_cgroups.make_groups(name)
        self._guard = host_cgroups.start_guard(self._groups)
        self._process: subprocess.Popen[bytes] | None = None
        self.leader = 0
        """The guest's PID 1, as the host sees it."""

    def boot(self, tree: Path, init: tuple[str, ...] = ("--boot",), binds: tuple[str, ...] = ()) -> None:
        """Start PID 1; with `--boot`, return when systemd says that the boot is done.

        Raises:
            GuestError: no readiness within `BOOT_SECONDS`; holds the end of the console.
        """
        notify = "yes" if init == ("--boot",) else "no"
        command = [
            "systemd-nspawn", "--quiet", f"--directory={tree}", "--volatile=overlay", "--register=no",
            "--private-network", "--console=pipe", f"--notify-ready={notify}", "--resolv-conf=off", "--timezone=off",
            *(["--keep-unit"] if not Path("/run/systemd/system").exists() else []),
            *(f"--bind={bind}" for bind in binds),
            *init,
        ]  # fmt: skip
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, self._console_path.open("wb") as console:
            told.bind(str(self._folder / "notify"))
            self._process = subprocess.Popen(
                host_cgroups.enter_command(self._groups, command),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env=dict(os.environ, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1", NOTIFY_SOCKET=str(self._folder / "notify")),
            )
            self._await_readiness(told)

    def run(self, *command: str, check: bool = True, stdin: str = "") -> str:
        """Run a command as root in the guest and return its standard output.

        Raises:
            GuestError: with `check`, a non-zero exit; holds the output.
        """
        entered = ["nsenter", "--target", str(self.leader), "--all", *command]
        done = subprocess.run(
            entered, input=stdin, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
        if check and done.returncode != 0:
            raise GuestError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Properties of a unit, as `systemctl show` tells them."""
        told = self.run("systemctl", "show", unit, "--property", ",".join(properties))
        return dict(line.split("=", 1) for line in told.split("\n") if line)

    def drop_in(self, unit: str, text: str) -> None:
        """Change a unit for this boot; takes effect when the unit is started next."""
        folder = f"/run/systemd/system/{unit}.d"
        self.run("mkdir", "-p", folder)
        self.run("sh", "-c", f"cat > {folder}/90-test.conf", stdin=text)
        self.run("systemctl", "daemon-reload")

    def wait_until(self, what: str, is_so: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
        """Ask again and again, paced by the process that each question starts.

        Raises:
            GuestError: not so within `seconds`; holds the journal.
        """
        end = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > end:
                raise GuestError(f"not within {seconds} s: {what}\n{self.journal()}")

    def journal(self) -> str:
        """The end of the guest's journal."""
        return self.run("journalctl", "--no-pager", "--lines=80", "--output=short-monotonic", check=False)

    def path(self, inside: str) -> Path:
        """Where the host finds a path of the guest."""
        return Path(f"/proc/{self.leader}/root{inside}")

    def close(self) -> None:
        """Halt the guest in order where it can, by SIGKILL where not, and remove what it left on the host."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(HALT_SECONDS)
        self._guard.communicate(timeout=HALT_SECONDS)
        if self._process:
            self._process.kill()
            self._process.wait(HALT_SECONDS)
        left = host_cgroups.remove_groups(self._groups)
        if left:
            raise GuestError(f"cgroups left behind: {left}")

    @property
    def _console_path(self) -> Path:
        return self._folder / "console"

    def _await_readiness(self, told: socket.socket) -> None:
        end = time.monotonic() + BOOT_SECONDS
        while True:
            told.settimeout(max(0.01, end - time.monotonic()))
            try:
                fields = dict(line.split("=", 1) for line in told.recv(4096).decode().split("\n") if "=" in line)
            except TimeoutError:
                console = self._console_path.read_text(errors="replace")
                raise GuestError(f"no readiness within {BOOT_SECONDS} s\n{console[-4000:]}") from None
            self.leader = int(fields.get("X_NSPAWN_LEADER_PID", self.leader))
            if fields.get("READY") == "1":
                return


class Conversation:
    """A host's JSON-RPC conversation over the guest's unix socket, one call at a time."""

    def __init__(self, guest: Guest, socket_path: str = SOCKET) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(WAIT_SECONDS)
        self._socket.connect(str(guest.path(socket_path)))
        self._pending = b""
        self._last_id = 0

    def call(self, method: str, **params: Any) -> Any:
        """Call a method and return its result; events before the answer are dropped.

        Raises:
            GuestError: the answer is an error, or the daemon closed the channel.
        """
        self._last_id += 1
        request = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        answer = self._message(lambda message: message.get("id") == self._last_id)
        if "error" in answer:
            raise GuestError(f"{method}: {answer['error']}")
        return answer["result"]

    def event(self, name: str) -> Any:
        """Wait for an event and return its params; others before it are dropped."""
        return self._message(lambda message: message.get("method") == name)["params"]

    def turn(self, task_id: str, message: str) -> None:
        """Open a task with its default agent, make it the active one, and let it do one whole turn."""
        self.call("create_or_open_task", taskId=task_id)
        self.call("switch_task", taskId=task_id)
        self.event("task_ready")
        self.call("prompt", message=message)
        self.event("agent_end")

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _message(self, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while not is_it(message := json.loads(self._line())):
            pass
        return dict(message)

    def _line(self) -> bytes:
        while b"\n" not in self._pending:
            chunk = self._socket.recv(65536)
            if not chunk or len(self._pending) > LINE_BYTES:
                raise GuestError(f"the channel ended after {self._pending[-200:]!r}")
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line


@contextlib.contextmanager
def booted(tree: Path, init: tuple[str, ...] = ("--boot",), binds: tuple[str, ...] = ()) -> Iterator[Guest]:
    """Boot a guest, lend it, and take it down with all it left."""
    # Not the test's own folder: a socket's path may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="taskd-guest-"))
    guest = Guest(folder.name, folder)
    try:
        guest.boot(tree, init, binds)
        yield guest
    finally:
        try:
            guest.close()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
