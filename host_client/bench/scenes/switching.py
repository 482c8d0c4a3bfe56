"""The warm switch: from the request to `task_ready`, for several numbers of open tasks, beside the echo floor.

An agent that spoke lately is believed to live, one that has been silent is asked first; both are told apart.
"""

from collections.abc import Iterator
from time import sleep
from typing import Final

from host_client.bench.bench import Bench, calm, figure, switch
from host_client.bench.probe import Probe
from host_client.bench.report import Figure, Skipped
from host_client.bench.spread import alternate, flat, ratio, spread

EACH: Final = 50
"""Switches of a round, at the least: enough for both sides to be warm for most of it."""
SILENCE_SECONDS: Final = 5.2
"""A little more than `probe_fresh_seconds`."""
FLOOR_NAME: Final = "echo floor"


def warm(bench: Bench) -> Iterator[Figure | Skipped]:
    """Switch round robin through all tasks, for each number of them."""
    with bench.channel() as probe, bench.floor() as floor:
        for count in bench.options.tasks:
            with bench.tasks(probe, count) as tasks, calm():
                if not bench.quick and count == max(bench.options.tasks):
                    yield _silent(probe, tasks)
                yield _warm(bench, probe, floor.probe, tasks)


def _warm(bench: Bench, probe: Probe, floor: Probe, tasks: list[str]) -> Figure:
    count = len(tasks)
    for task in tasks:
        switch(probe, task)
        switch(floor, task)
    ours, least = alternate(
        4 if bench.quick else 24,
        EACH,
        lambda number: switch(probe, tasks[number % count]),
        lambda number: switch(floor, tasks[number % count]),
    )
    return figure(
        "switch",
        f"switch: {count} tasks",
        "ms",
        flat(ours),
        floor=spread(flat(least)),
        floor_name=FLOOR_NAME,
        ratio=ratio(ours, least),
    )


def _silent(probe: Probe, tasks: list[str]) -> Figure:
    sleep(SILENCE_SECONDS)
    samples = [switch(probe, task) for task in tasks]
    return figure(
        "switch", "switch: the agent asked first", "ms", samples, note=f"after {SILENCE_SECONDS:g} s of silence"
    )
