"""One run: the options, what is measured, and what scenes share.

A scene takes a `Bench` and yields figures, or says `Skipped`. Tasks get ids that no other run has, and are stopped at
the end; what an own daemon leaves behind goes with its folder.
"""

import gc
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import Any, Final, NamedTuple

import msgspec

from host_client.bench.probe import DIALECTS, BenchError, Probe, Refused, elapsed_ms
from host_client.bench.processes import DAEMON, Daemon, Floor
from host_client.bench.report import Figure, Skipped
from host_client.bench.spread import spread, thinned
from host_client.dial import Target, find_token, read_address
from host_client.errors import DialFailed

ECHO: Final = "bench?"
"""A prompt by which the instant agent is known: it says so at once, and nothing else."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be measured, and how.

    `address` None starts a daemon with `daemon`; `scenes` empty means all; `tasks` are the counts of the warm switch;
    `agent` is what tasks are opened with (None: the daemon's default); `quick` takes seconds and tells less.
    """

    address: str | None = None
    dialect: str = DIALECTS[0]
    scenes: tuple[str, ...] = ()
    tasks: tuple[int, ...] = (2, 10, 50)
    agent: str | None = None
    token: str | None = None
    daemon: tuple[str, ...] = DAEMON
    quick: bool = False


class Turn(NamedTuple):
    """Milliseconds of one turn from its prompt; `save` is what the daemon says its save took, within `end`."""

    output: float
    end: float
    save: float


class Bench:
    """What scenes work with. A context: it ends what it started.

    Entering raises `DialFailed` when nobody answers at the address, and `BenchError` when no daemon can be started.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.dialect = options.dialect
        self.quick = options.quick
        self._stack = ExitStack()
        self._run = secrets.token_hex(4)
        self._number = 0
        self.own: Daemon | None = None
        self.target: Target

    def __enter__(self) -> "Bench":
        if self.options.address is None:
            self.own = self._stack.enter_context(self.daemon())
            self.target = self.own.target
        else:
            self.target = read_address(self.options.address)
            self._knock()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _knock(self) -> None:
        try:
            self.channel().close()
        except OSError as error:
            reason, hint = error.strerror or str(error), "start taskd there, or leave --address out"
            raise DialFailed(str(self.target), reason, hint) from error

    def daemon(self, settings: str = "", **limits: float) -> Daemon:
        """Make one more daemon, with settings of its own; to be entered."""
        return Daemon(self.options.daemon, settings, limits)

    @contextmanager
    def apart(self, settings: str = "", **limits: float) -> Iterator[Daemon | None]:
        """Give a daemon of ours with settings of its own, or None for the one at the address, which is as it is."""
        if self.own is None:
            yield None
            return
        with self.daemon(settings, **limits) as daemon:
            yield daemon

    def floor(self) -> Floor:
        """Make the floor for this run; to be entered."""
        return Floor(self.target, self.dialect)

    def channel(self, daemon: Daemon | None = None) -> Probe:
        """Open a channel, to the daemon that is measured or to another of ours, and show the token where one is due."""
        probe = Probe(daemon.target if daemon else self.target, self.dialect)
        try:
            self._greet(probe)
        except BaseException:
            probe.close()
            raise
        return probe

    def _greet(self, probe: Probe) -> None:
        token = None if self.own else find_token(probe.target, self.options.token)
        if token is not None:
            probe.call("initialize" if self.dialect == "jsonrpc" else "authenticate", token=token)

    def fresh(self, count: int = 1) -> list[str]:
        """Give ids of tasks that do not exist."""
        first, self._number = self._number, self._number + count
        return [f"bench-{self._run}-{number}" for number in range(first, self._number)]

    @contextmanager
    def tasks(self, probe: Probe, count: int = 1) -> Iterator[list[str]]:
        """Open tasks, and stop them afterwards."""
        ids = self.fresh(count)
        opened: list[str] = []
        try:
            for id in ids:
                opened.append(id)
                self.open(probe, id)
            yield ids
        finally:
            self._stop(probe, opened)

    def _stop(self, probe: Probe, ids: list[str]) -> None:
        """Stop tasks, over another channel when this one has broken."""
        while ids:
            try:
                probe.call("stop_task", taskId=ids[-1])
            except Refused:
                pass  # It was never opened, or could not be.
            except (BenchError, OSError):
                with Probe(probe.target, self.dialect) as another:
                    self._greet(another)
                    self._stop(another, ids)
                return
            ids.pop()

    def open(self, probe: Probe, id: str) -> Any:
        """Open a task."""
        chosen = {"agent": self.options.agent} if self.options.agent else {}
        return probe.call("create_or_open_task", taskId=id, **chosen)


def switch(probe: Probe, task: str) -> float:
    """Switch and give the milliseconds to `task_ready`."""
    _, line = probe.request("switch_task", taskId=task)
    began = perf_counter()
    probe.send(line)
    probe.event("task_ready", task)
    return elapsed_ms(began)


def turn(probe: Probe, message: str = "hello") -> Turn:
    """Take one turn with the instant agent, whose answer is one piece."""
    _, line = probe.request("prompt", message=message)
    began = perf_counter()
    probe.send(line)
    probe.event("agent_output")
    output = elapsed_ms(began)
    ended = probe.event("agent_end")
    return Turn(output, elapsed_ms(began), ended.body.save_ms)


def needs_instant_agent(probe: Probe, scene: str) -> Skipped | None:
    """Say why a scene cannot run if the active task's agent is another one than ours."""
    probe.send(probe.request("prompt", message=ECHO)[1])
    said = probe.event("agent_output").body.chunk
    probe.event("agent_end")
    if said == f"echo: {ECHO}":
        return None
    return Skipped(scene, "the agent there is not the harness's own; `--agent-command` tells how to configure it")


@contextmanager
def calm() -> Iterator[None]:
    """Keep our own garbage collector out of what is measured."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def figure(scene: str, name: str, unit: str, samples: list[float], **more: Any) -> Figure:
    """Make a figure of samples."""
    return Figure(scene=scene, name=name, unit=unit, spread=spread(samples), samples=thinned(samples), **more)


Scene = Callable[[Bench], Iterator[Figure | Skipped]]

__all__ = ["Bench", "BenchError", "Options", "Scene", "Turn", "calm", "figure", "needs_instant_agent", "switch", "turn"]
