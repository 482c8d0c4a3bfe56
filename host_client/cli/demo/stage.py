"""The place of the demo: a temporary folder, the daemon in it, and the agent that plays.

The agent is the one that the user names; else the one of the settings that this machine's daemon would use, if they
name one, so that the demo runs on pi where pi is configured; else the built-in shell. Which agents there are is what
the demo's own daemon says of these settings: nothing here reads them.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import anyio

from host_client.connecting import connect
from host_client.errors import DialFailed, HostError
from taskd.model.address import MAX_UNIX_PATH_BYTES
from taskd.model.calls import AgentProfile

STOP_SECONDS: Final = 10.0
"""A daemon that is told to stop has ended by then."""

START_SECONDS: Final = 10.0
"""A daemon that was started listens by then."""

BUILT_IN: Final = "shell"

SYSTEM_SETTINGS: Final = Path("/etc/taskd/taskd.toml")
"""What a daemon reads when no other settings are named."""


class Stage:
    """The folder and its daemon, for the length of a `with`.

    Args:
        settings: the settings file that the user named.
        agent: the agent that the user named.
        keep: leave the folder.
    """

    def __init__(self, settings: str | None, agent: str | None, *, keep: bool) -> None:
        self.folder = _temporary_folder()
        self.socket = self.folder / "taskd.sock"
        self.log = self.folder / "taskd.log"
        self.settings = find_settings(settings, agent)
        self._wanted = agent
        self._keep = keep
        self._daemons: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        """Where the daemon listens."""
        return f"unix:{self.socket}"

    async def start(self) -> None:
        """Start the daemon, and return when it answers.

        Raises:
            HostError: it ended, with what its log says, or does not answer.
        """
        daemon = await anyio.to_thread.run_sync(self._spawn)
        self._daemons.append(daemon)
        with anyio.move_on_after(START_SECONDS):
            while not await self._answers():
                if daemon.poll() is not None:
                    raise HostError(f"the daemon did not start: {self._words_of_log()}")
                await anyio.sleep(0.005)
            return
        raise HostError("the daemon does not answer")

    async def stop(self) -> None:
        """Stop the daemon in order.

        Raises:
            HostError: it did not end well.
        """
        daemon = self._daemons[-1]
        daemon.terminate()
        try:
            code = await anyio.to_thread.run_sync(daemon.wait, STOP_SECONDS, abandon_on_cancel=True)
        except subprocess.TimeoutExpired:
            raise HostError(f"the daemon does not stop: {self._words_of_log()}") from None
        if code != 0:
            raise HostError(f"the daemon ended with {code}: {self._words_of_log()}")

    def choose(self, agents: Sequence[AgentProfile]) -> str:
        """Give the name of the agent that plays."""
        return choose_agent(self._wanted, agents)

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        for daemon in self._daemons:
            _end(daemon)
        if not self._keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _answers(self) -> bool:
        # It listens before it has read its settings, which it may find to be wrong.
        try:
            async with connect(self.address, mirror=False):
                return True
        except DialFailed:
            return False

    def _spawn(self) -> "subprocess.Popen[bytes]":
        empty = self.folder / "taskd.toml"
        empty.touch()
        self.socket.unlink(missing_ok=True)
        flags = ["--config", str(self.settings or empty), "--state-dir", str(self.folder / "state")]
        flags += ["--listen", self.address, "--log-format", "json", "--no-kernel-cmdline"]
        with self.log.open("ab") as log:
            # In a session of its own, so that ctrl-C reaches the demo alone, which then stops it in order.
            return subprocess.Popen(
                [sys.executable, "-m", "taskd", "serve", *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(os.environ),
                start_new_session=True,
            )

    def _words_of_log(self) -> str:
        lines = self.log.read_text(errors="replace").strip().split("\n")
        plain = [line.removeprefix("taskd: ") for line in lines if not line.startswith("{")]
        return plain[0] if plain else lines[-1]


def find_settings(named: str | None, agent: str | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Give the settings file of the demo: the named one, or this machine's unless the built-in agent was asked for."""
    if named is not None:
        return Path(named).absolute()
    if agent == BUILT_IN:
        return None
    own = environ.get("TASKD_CONFIG")
    path = Path(own) if own else SYSTEM_SETTINGS
    return path.absolute() if os.access(path, os.R_OK) else None


def choose_agent(wanted: str | None, agents: Sequence[AgentProfile]) -> str:
    """Give the wanted agent; else a default that is not the built-in one; else pi; else the built-in one."""
    if wanted is not None:
        return wanted
    names = [agent.name for agent in agents]
    default = next((agent.name for agent in agents if agent.is_default), BUILT_IN)
    return "pi" if default == BUILT_IN and "pi" in names else default


def find_agent_process(folder: str) -> int:
    """Find the process that works in a task's folder and was not started by another that does.

    Raises:
        HostError: there is none.
    """
    parents = dict(_processes_in(folder))
    for pid, parent in parents.items():
        if parent not in parents:
            return pid
    raise HostError(f"no agent works in {folder}")


def _processes_in(folder: str) -> list[tuple[int, int]]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                if os.readlink(f"/proc/{name}/cwd") == folder:
                    stat = Path(f"/proc/{name}/stat").read_bytes()
                    found.append((int(name), int(stat.rpartition(b")")[2].split()[1])))
            except OSError:
                # It ended meanwhile, or is another user's.
                continue
    return found


def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="taskd-demo-"))
    if len(os.fsencode(folder / "taskd.sock")) <= MAX_UNIX_PATH_BYTES:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="taskd-demo-", dir="/tmp"))


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What the user set for their own daemon is not meant for this one."""
    return {key: value for key, value in environ.items() if not key.startswith(("TASKD_", "NOTIFY_", "LISTEN_"))}


def _end(daemon: "subprocess.Popen[bytes]") -> None:
    if daemon.poll() is None:
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
