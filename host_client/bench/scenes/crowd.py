"""Many hosts: what it costs the one that drives that ten others look on."""

from collections.abc import Iterator
from typing import Any, Final

from host_client.bench.bench import Bench, calm, figure, needs_instant_agent, switch
from host_client.bench.observers import observing
from host_client.bench.probe import Probe
from host_client.bench.processes import Daemon
from host_client.bench.report import Figure, Skipped
from host_client.bench.scenes.stream import KINDS, OUTBOX_BYTES, flow
from host_client.bench.spread import flat, ratio, spread

OBSERVERS: Final = 10
EACH: Final = 100
_KIND: Final = KINDS[0]


def crowd(bench: Bench) -> Iterator[Figure | Skipped]:
    """Switch and stream, alone and with observers, in turns."""
    times = 2 if bench.quick else 5
    kind = _KIND.shorter(8 if bench.quick else 2)
    with (
        bench.apart(outbox_bytes=OUTBOX_BYTES) as daemon,
        bench.channel(daemon) as probe,
        bench.tasks(probe, 2) as tasks,
        calm(),
    ):
        rounds = _in_turns(bench, daemon, times, lambda: _switches(probe, tasks))
        yield figure("crowd", f"switch: with {OBSERVERS} observers", "ms", flat(rounds[1]), **_beside(rounds))
        if (skipped := needs_instant_agent(probe, "crowd")) is not None:
            yield skipped
            return
        rounds = _in_turns(bench, daemon, times, lambda: [flow(probe, kind).rate])
        name = f"stream: {kind.name} with {OBSERVERS} observers"
        yield figure("crowd", name, "deltas/s", flat(rounds[1]), better="more", **_beside(rounds))


def _switches(probe: Probe, tasks: list[str]) -> list[float]:
    return [switch(probe, tasks[number % len(tasks)]) for number in range(EACH)]


def _in_turns(bench: Bench, daemon: Daemon | None, times: int, measure: Any) -> tuple[list[Any], list[Any]]:
    alone, watched = [], []
    target = daemon.target if daemon else bench.target
    measure()
    for _ in range(times):
        alone.append(measure())
        with observing(target, bench.options, OBSERVERS):
            watched.append(measure())
    return alone, watched


def _beside(rounds: tuple[list[Any], list[Any]]) -> dict[str, Any]:
    alone, watched = rounds
    return {"floor": spread(flat(alone)), "floor_name": "alone", "ratio": ratio(watched, alone)}
