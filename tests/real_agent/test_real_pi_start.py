"""What the daemon adds to the start of a real pi: measured and told at the end of the run, never asserted on."""

from __future__ import annotations

import time
from statistics import median

import pytest

from tests.kit.daemon import Host
from tests.real_agent.pi_guest import PiGuest, turn

pytestmark = pytest.mark.real_agent

ROUNDS = 3


def test_a_cold_resume_is_told_beside_pis_own_start(guest: PiGuest, tell: list[str]) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        host.open("a")
        turn(host, "@text one")
        whole, own, spawned = [], [], []
        for _ in range(ROUNDS):
            host.call("stop_task", taskId="a")
            began = time.perf_counter()
            assert host.call("create_or_open_task", taskId="a")["mode"] == "resumed"
            whole.append(1000 * (time.perf_counter() - began))
            asked, running, ready = (
                _moment(host, word) for word in ("params=CreateOrOpenTask(", "Prepared(", "Ready(")
            )
            own.append(1000 * (ready - running))
            spawned.append(1000 * (running - asked))
    added = median(all_ - pis for all_, pis in zip(whole, own, strict=True))
    tell.append(
        f"{guest.pi.name}: cold resume {median(whole):.0f} ms, of which pi's own start {median(own):.0f} ms;"
        f" the daemon added {added:.0f} ms, {median(spawned):.0f} of them before the spawn (medians of {ROUNDS})"
    )


def _moment(host: Host, word: str) -> float:
    """When the daemon last heard this, by its own story: seconds on its own clock, to the millisecond."""
    heard = [line.partition(" -> ")[0] for line in host.call("diag")["story"]]
    return next(float(line.partition(" ")[0]) for line in reversed(heard) if word in line)
