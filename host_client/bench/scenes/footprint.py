"""What a daemon costs while nothing happens: resident memory, and CPU time."""

from collections.abc import Iterator
from time import sleep
from typing import Final

from host_client.bench.bench import Bench, figure, switch
from host_client.bench.report import Figure, Skipped
from host_client.bench.system import cpu_seconds, rss_mib

TASKS: Final = 50
IDLE_TASKS: Final = 10
IDLE_SECONDS: Final = 4.0


def memory(bench: Bench) -> Iterator[Figure | Skipped]:
    """Look at a daemon that has just answered, and again with tasks."""
    if bench.own is None:
        yield _not_ours("memory")
        return
    with bench.daemon() as daemon, bench.channel(daemon) as probe:
        probe.call("get_state" if bench.dialect == "jsonrpc" else "runtime_get_state")
        yield figure("memory", "memory: idle", "MiB", [rss_mib(daemon.pid)])
        count = IDLE_TASKS if bench.quick else TASKS
        with bench.tasks(probe, count) as tasks:
            for task in tasks:
                switch(probe, task)
            yield figure("memory", f"memory: {count} tasks", "MiB", [rss_mib(daemon.pid)])


def cpu(bench: Bench) -> Iterator[Figure | Skipped]:
    """Let tasks wait, and look at what the daemon does meanwhile."""
    if bench.own is None:
        yield _not_ours("cpu")
        return
    seconds = 1.0 if bench.quick else IDLE_SECONDS
    with bench.daemon() as daemon, bench.channel(daemon) as probe, bench.tasks(probe, IDLE_TASKS):
        sleep(0.5)
        before = cpu_seconds(daemon.pid)
        sleep(seconds)
        spent = (cpu_seconds(daemon.pid) - before) / seconds * 1000
    yield figure("cpu", f"cpu: idle with {IDLE_TASKS} tasks", "ms/s", [spent])


def _not_ours(scene: str) -> Skipped:
    return Skipped(scene, "a daemon at an address is not ours to look into; give no address to measure one of ours")
