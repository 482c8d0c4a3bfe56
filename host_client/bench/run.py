"""A whole run: scenes in their order, each judged, none able to spoil the others."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from time import perf_counter

from host_client.bench.bars import judged
from host_client.bench.bench import Bench, Options
from host_client.bench.probe import BenchError
from host_client.bench.report import Figure, Report, Skipped
from host_client.bench.scenes import SCENES
from host_client.bench.system import load, machine

Tell = Callable[[Figure | Skipped], None]


def run_bench(options: Options, tell: Tell = lambda found: None) -> Report:
    """Measure.

    Args:
        options: what and how.
        tell: called with each figure as soon as it is there.

    Raises:
        BenchError: nothing can be measured: no daemon, or a scene that does not exist.
    """
    unknown = [name for name in options.scenes if name not in SCENES]
    if unknown:
        raise BenchError(f"there is no scenario {unknown[0]!r}; there are {', '.join(SCENES)}")
    at, began, before = datetime.now(UTC), perf_counter(), load()
    found: list[Figure | Skipped] = []
    with Bench(options) as bench:
        for name in options.scenes or SCENES:
            for one in _scene(bench, name):
                found.append(judged(one) if isinstance(one, Figure) else one)
                tell(found[-1])
    return Report(
        subject=options.address or "a daemon of its own",
        dialect=options.dialect,
        at=at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        quick=options.quick,
        seconds=round(perf_counter() - began, 1),
        machine=machine(before),
        figures=tuple(one for one in found if isinstance(one, Figure)),
        skipped=tuple(one for one in found if isinstance(one, Skipped)),
    )


def _scene(bench: Bench, name: str) -> Iterator[Figure | Skipped]:
    try:
        yield from SCENES[name](bench)
    except (BenchError, OSError) as error:
        yield Skipped(name, f"broke off: {error}")
