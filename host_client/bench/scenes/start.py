"""From exec to a daemon that listens, and to its first answer, beside a Python and a Node that do next to nothing."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Final

from host_client.bench.agents import python_start
from host_client.bench.bench import Bench, figure
from host_client.bench.probe import elapsed_ms
from host_client.bench.processes import until_accepts
from host_client.bench.report import Figure, Skipped
from host_client.bench.spread import Spread, alternate, flat, ratio, spread
from taskd.model.address import UnixAddress

_SERVER: Final = "require('net').createServer(s => s.end()).listen(process.argv[1])"
"""The least server in Node: what a daemon in Node cannot be faster than."""


def start(bench: Bench) -> Iterator[Figure | Skipped]:
    """Start daemons, one after the other."""
    if bench.own is None:
        yield Skipped("start", "a daemon at an address is not ours to start")
        return
    answered: list[float] = []
    node = shutil.which("node")
    measures = [lambda _: _daemon(bench, answered), python_start]
    if node is not None:
        measures.append(lambda _: _node(node))
    rounds = alternate(3 if bench.quick else 12, 1, *measures)
    python = spread(flat(rounds[1]))
    floor: dict[str, object] = {}
    if node is not None:
        floor = {
            "floor": spread(flat(rounds[2])),
            "floor_name": "the least server in Node",
            "ratio": ratio(rounds[0], rounds[2]),
        }
    else:
        yield Skipped("start", "no `node` here, so no floor to start beside")
    yield figure("start", "start: exec to accept", "ms", flat(rounds[0]), note=_beside(python), **floor)
    yield figure("start", "start: exec to first answer", "ms", answered, note=_beside(python))


def _daemon(bench: Bench, answered: list[float]) -> float:
    daemon = bench.daemon()
    try:
        began = perf_counter()
        accepted = daemon.start()
        with bench.channel(daemon) as probe:
            probe.call("get_state")
        answered.append(elapsed_ms(began))
        return accepted
    finally:
        daemon.__exit__()


def _node(node: str) -> float:
    with tempfile.TemporaryDirectory(prefix="taskd-bench-node-") as folder:
        target = UnixAddress(str(Path(folder) / "node.sock"))
        began = perf_counter()
        process = subprocess.Popen([node, "-e", _SERVER, target.path], stdin=subprocess.DEVNULL)
        try:
            until_accepts(target, process)
            return elapsed_ms(began)
        finally:
            process.kill()
            process.wait()


def _beside(python: Spread) -> str:
    return f"`python -c pass`: {python.p50:.0f} ms"
