"""`SetTimer` now, `TimerFired` later.

One task sleeps until the earliest deadline. Deadlines are kept on the clock that knows sleep; the event loop's own
clock may not, so after a suspended machine wakes up every deadline that has passed fires once, and none fires early.
"""

from collections.abc import Callable
from heapq import heappop, heappush

import anyio

from taskd.core.stimuli import Timer
from taskd.services.clock import Clock

LONGEST_SLEEP_SECONDS = 60.0
"""After a suspend the loop's own clock may lag behind ours by what was slept; this bounds how late a timer can be."""


class Timers:
    """All timers of the machine.

    Args:
        clock: tells deadlines.
        fire: called with a timer that ran out.
    """

    def __init__(self, clock: Clock, fire: Callable[[Timer], None]) -> None:
        self._clock = clock
        self._fire = fire
        self._deadlines: dict[Timer, float] = {}
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = 0
        self._changed = anyio.Event()

    def set(self, timer: Timer, seconds: float) -> None:
        """Set or move a timer."""
        deadline = self._clock.mono() + seconds
        self._deadlines[timer] = deadline
        self._count += 1
        heappush(self._heap, (deadline, self._count, timer))
        if self._heap[0][2] is timer:
            self._changed.set()

    def clear(self, timer: Timer) -> None:
        """Forget a timer; its heap entry goes when its time comes."""
        self._deadlines.pop(timer, None)
        if len(self._heap) > 64 + 4 * len(self._deadlines):
            self._sweep()

    async def run(self) -> None:
        """Fire timers until cancelled."""
        while True:
            self._changed = anyio.Event()
            self.fire_due()
            with anyio.move_on_after(self._pause()):
                await self._changed.wait()

    def fire_due(self) -> None:
        """Fire every timer whose time has come."""
        now = self._clock.mono()
        while self._heap and self._heap[0][0] <= now:
            deadline, _, timer = heappop(self._heap)
            if self._deadlines.get(timer) == deadline:
                del self._deadlines[timer]
                self._fire(timer)

    def _pause(self) -> float:
        if not self._heap:
            return float("inf")
        return min(max(self._heap[0][0] - self._clock.mono(), 0.0), LONGEST_SLEEP_SECONDS)

    def _sweep(self) -> None:
        self._heap = [entry for entry in self._heap if self._deadlines.get(entry[2]) == entry[0]]
        self._heap.sort()
