"""One turn with an agent that takes no time: to its output, to `agent_end`, and what the durable save is of it."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from host_client.bench.agents import BareAgent
from host_client.bench.bench import Bench, Turn, calm, figure, needs_instant_agent, switch, turn
from host_client.bench.probe import Probe, elapsed_ms
from host_client.bench.report import Figure, Skipped
from host_client.bench.spread import alternate, flat, median, spread

EACH: Final = 10
_SAVED: Final = b"x" * 1024


def turns(bench: Bench) -> Iterator[Figure | Skipped]:
    """Take turns without and with fsync."""
    with bench.apart("fsync = false\n") as unsynced, bench.channel(unsynced) as probe, bench.tasks(probe) as (task,):
        yield from _turns(bench, probe, task, "")
    if bench.own is None:
        yield Skipped("turn", "whether the daemon at an address syncs its saves is not ours to choose")
        return
    with bench.channel() as probe, bench.tasks(probe) as (task,):
        yield from _turns(bench, probe, task, ", with fsync")


def _turns(bench: Bench, probe: Probe, task: str, how: str) -> Iterator[Figure | Skipped]:
    switch(probe, task)
    if (skipped := needs_instant_agent(probe, "turn")) is not None:
        yield skipped
        return
    taken: list[Turn] = []

    def taken_turn(_: int) -> float:
        taken.append(turn(probe))
        return taken[-1].output

    with BareAgent() as agent, calm():
        agent.turn()
        taken_turn(0)
        taken.clear()
        ours, bare = alternate(3 if bench.quick else 20, EACH, taken_turn, agent.turn)
    about: dict[str, Any] = {"floor": spread(flat(bare)), "floor_name": "the agent alone"}
    yield figure("turn", f"turn: to the last output{how}", "ms", flat(ours), **about)
    yield figure("turn", f"turn: to agent_end{how}", "ms", [one.end for one in taken])
    yield figure("turn", f"turn: agent_end without the save{how}", "ms", [one.end - one.save for one in taken])
    if any(one.save for one in taken):
        yield _saves(taken, how)


def _saves(taken: list[Turn], how: str) -> Figure:
    if not how:
        return figure("turn", "turn: the save", "ms", [one.save for one in taken])
    floor = [_careful_write() for _ in range(30)]
    samples = [one.save for one in taken]
    about: dict[str, Any] = {"floor": spread(floor), "floor_name": "fsync, rename, fsync of 1 KiB"}
    return figure("turn", f"turn: the save{how}", "ms", samples, ratio=median(samples) / median(floor), **about)


def _careful_write() -> float:
    """Replace a small file so that it survives a power cut; give the milliseconds."""
    with tempfile.TemporaryDirectory(prefix="taskd-bench-disk-") as name:
        began = perf_counter()
        with (Path(name) / "new").open("wb") as file:
            file.write(_SAVED)
            file.flush()
            os.fsync(file.fileno())
        (Path(name) / "new").rename(Path(name) / "file")
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder)
        os.close(folder)
        return elapsed_ms(began)
