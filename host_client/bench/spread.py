"""Many samples as a few numbers. Pure."""

import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final

import msgspec

MAX_KEPT: Final = 400
"""Samples of a figure that a report keeps for its plots, evenly from the sorted ones, so both ends are among them."""


class Spread(msgspec.Struct, frozen=True, rename="camel"):
    """How samples lie. Percentiles are nearest ranks: numbers that were measured."""

    n: int
    least: float
    p50: float
    p95: float
    p99: float
    most: float


def spread(samples: Sequence[float]) -> Spread:
    """Sum up at least one sample."""
    ranked = sorted(samples)
    p50, p95, p99 = (percentile(ranked, share) for share in (0.50, 0.95, 0.99))
    return Spread(len(ranked), ranked[0], p50, p95, p99, ranked[-1])


def percentile(ranked: Sequence[float], share: float) -> float:
    """Give the nearest rank of a sorted sequence."""
    return ranked[max(0, math.ceil(len(ranked) * share) - 1)]


def thinned(samples: Sequence[float], most: int = MAX_KEPT) -> tuple[float, ...]:
    """Give at most so many of the samples, sorted, the least and the greatest included."""
    ranked = sorted(samples)
    if len(ranked) <= most:
        return tuple(ranked)
    step = (len(ranked) - 1) / (most - 1)
    return tuple(ranked[round(index * step)] for index in range(most))


def median(samples: Sequence[float]) -> float:
    """Give the middle sample."""
    return percentile(sorted(samples), 0.50)


def alternate(rounds: int, each: int, *measures: Callable[[int], float]) -> list[list[list[float]]]:
    """Take `each` samples of every measure in each round, in turns, every second round in the other order.

    What disturbs the machine for a while then disturbs all of them alike. Gives, for each measure, its rounds; a
    measure is called with the number of the sample.
    """
    found: list[list[list[float]]] = [[] for _ in measures]
    for number in range(rounds):
        order = list(enumerate(measures))
        for index, measure in order if number % 2 else reversed(order):
            found[index].append([measure(number * each + sample) for sample in range(each)])
    return found


def flat(rounds: Sequence[Sequence[float]]) -> list[float]:
    """Give the samples of all rounds."""
    return list(chain.from_iterable(rounds))


def ratio(rounds: Sequence[Sequence[float]], floor: Sequence[Sequence[float]]) -> float:
    """Give how many times the floor something is: the median, over rounds, of the ratio of medians."""
    return median([median(ours) / median(theirs) for ours, theirs in zip(rounds, floor, strict=True)])
