"""Streamed answers: how many deltas a second reach one host, small ones, large ones, and the growing ones of pi 0.74.

A daemon may merge deltas that come together, so what is counted is text: a delta is SIZE bytes of it. The text is kept
while the clock runs and compared with what the agent sends when it has stopped.
"""

from collections.abc import Iterator
from time import perf_counter
from typing import Final, NamedTuple
from zlib import crc32

from host_client.bench.agent import pattern
from host_client.bench.bench import Bench, calm, figure, needs_instant_agent, switch
from host_client.bench.probe import BenchError, Probe
from host_client.bench.report import Figure, Skipped
from host_client.bench.system import cpu_seconds

OUTBOX_BYTES: Final = 256 << 20
"""Host, daemon and agent share what cores there are. A daemon that got ahead of us would close the channel at its
default of 8 MiB, and rightly; here that would only tell that the harness had to wait for a core."""


class Kind(NamedTuple):
    """One kind of stream: the agent's directive, and how many deltas of how many bytes."""

    name: str
    directive: str
    deltas: int
    size: int

    def shorter(self, times: int) -> "Kind":
        """Give the same with fewer deltas."""
        return self._replace(deltas=self.deltas // times)

    def text(self) -> tuple[int, int]:
        """Give the length and the checksum of the whole text."""
        block, total = pattern(self.size), 0
        for _ in range(self.deltas):
            total = crc32(block, total)
        return self.deltas * self.size, total


KINDS: Final = (
    Kind("100 B deltas", "@flood", 200_000, 100),
    Kind("4 KiB deltas", "@flood", 20_000, 4096),
    Kind("growing partials", "@grow", 2_000, 40),
)


class Flow(NamedTuple):
    """One stream: deltas a second, and the events that they came in."""

    rate: float
    events: int


def streams(bench: Bench) -> Iterator[Figure | Skipped]:
    """Stream to one host."""
    with (
        bench.apart(outbox_bytes=OUTBOX_BYTES) as daemon,
        bench.channel(daemon) as probe,
        bench.tasks(probe) as (task,),
    ):
        yield from _streams(bench, probe, task, daemon.pid if daemon else None)


def flow(probe: Probe, kind: Kind) -> Flow:
    """Have a text streamed and give how fast it came.

    Raises:
        BenchError: it is not the text that the agent sends.
    """
    _, line = probe.request("prompt", message=f"{kind.directive} {kind.deltas} {kind.size}")
    size, checksum = kind.text()
    chunks: list[str] = []
    heard = 0
    began = perf_counter()
    probe.send(line)
    while heard < size:
        chunks.append(probe.event("agent_output").body.chunk)
        heard += len(chunks[-1])
    took = perf_counter() - began
    probe.event("agent_end")
    if heard != size or crc32("".join(chunks).encode()) != checksum:
        raise BenchError(f"{kind.name}: the text that came is not the agent's ({heard} of {size} bytes)")
    return Flow(kind.deltas / took, len(chunks))


def _streams(bench: Bench, probe: Probe, task: str, pid: int | None) -> Iterator[Figure | Skipped]:
    switch(probe, task)
    if (skipped := needs_instant_agent(probe, "stream")) is not None:
        yield skipped
        return
    for whole in KINDS:
        # The growing ones are not made fewer: how long a delta takes depends on how many came before it.
        kind = whole.shorter(4) if bench.quick and whole.directive == "@flood" else whole
        times = 7 if not bench.quick else 1 + (whole.directive == "@flood")
        with calm():
            flow(probe, kind.shorter(10))
            before = cpu_seconds(pid) if pid else 0.0
            flows = [flow(probe, kind) for _ in range(times)]
            spent = cpu_seconds(pid) - before if pid else 0.0
        yield _figure(kind, flows)
        if pid:
            each = spent / (len(flows) * kind.deltas) * 100_000
            yield figure("stream", f"cpu: 100,000 {kind.name}", "s", [each])


def _figure(kind: Kind, flows: list[Flow]) -> Figure:
    rates = [one.rate for one in flows]
    megabytes = max(rates) * kind.size / 1e6
    events = flows[0].events
    note = f"{kind.deltas:,} deltas in {events:,} events; {megabytes:.3g} MB/s of text at best"
    return figure("stream", f"stream: {kind.name}", "deltas/s", rates, better="more", note=note)
