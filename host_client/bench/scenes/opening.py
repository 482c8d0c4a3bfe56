"""Opening a task: a new one, and a stopped one whose agent must start again. What the agent itself takes is taken off.

Also how long a stop takes, which comes for free.
"""

from collections.abc import Iterator
from time import perf_counter
from typing import Any

from host_client.bench.agents import bare_start
from host_client.bench.bench import Bench, calm, figure
from host_client.bench.probe import Probe, elapsed_ms
from host_client.bench.report import Figure, Skipped
from host_client.bench.spread import alternate, flat, median, spread


def create(bench: Bench) -> Iterator[Figure | Skipped]:
    """Open tasks that did not exist."""
    with bench.channel() as probe, calm():
        yield from _above(bench, "create", lambda _: _new(bench, probe))


def _new(bench: Bench, probe: Probe) -> float:
    began = perf_counter()
    with bench.tasks(probe):
        return elapsed_ms(began)


def resume(bench: Bench) -> Iterator[Figure | Skipped]:
    """Stop a task, and open it again."""
    stops: list[float] = []
    with bench.channel() as probe, bench.tasks(probe) as (task,), calm():
        yield from _above(bench, "resume", lambda _: _again(bench, probe, task, stops))
    yield figure("resume", "stop: to task_stopped", "ms", stops)


def _again(bench: Bench, probe: Probe, task: str, stops: list[float]) -> float:
    stops.append(_stop(probe, task))
    began = perf_counter()
    bench.open(probe, task)
    return elapsed_ms(began)


def _stop(probe: Probe, task: str) -> float:
    id, line = probe.request("stop_task", taskId=task)
    began = perf_counter()
    probe.send(line)
    # The event and the answer come in another order in each dialect; the task is gone when both are there.
    waited = {"event", "answer"}
    while waited:
        heard = probe.next()
        if heard.name == "task_stopped" and heard.task == task:
            waited.discard("event")
        elif heard.id == id and not heard.name:
            waited.discard("answer")
    return elapsed_ms(began)


def _above(bench: Bench, scene: str, opened: Any) -> Iterator[Figure | Skipped]:
    rounds = alternate(6 if bench.quick else 24, 1, opened, bare_start)
    ours, bare = flat(rounds[0]), flat(rounds[1])
    about: dict[str, Any] = {"floor": spread(bare), "floor_name": "the agent alone"}
    yield figure(scene, f"{scene}: to ready", "ms", ours, ratio=median(ours) / median(bare), **about)
    if bench.own is None:
        yield Skipped(scene, "what the agent at the address takes to start is not known, so nothing is taken off")
        return
    above = [mine - median(bare) for mine in ours]
    yield figure(scene, f"{scene}: above the agent's start", "ms", above)
