"""Time, passed to whoever needs it, so that tests can hold it still."""

import time
from typing import Protocol

from taskd.model.instants import rfc3339


class Clock(Protocol):
    """Two clocks: one for deadlines, one for dates."""

    def mono(self) -> float:
        """Seconds that never go back and go on while the machine sleeps."""

    def wall(self) -> str:
        """The time of day, RFC 3339 in UTC with milliseconds."""


class SystemClock:
    """The real one. CLOCK_BOOTTIME counts the time a laptop or a guest was suspended, CLOCK_MONOTONIC does not."""

    def __init__(self) -> None:
        self._millisecond = 0
        self._text = ""

    def mono(self) -> float:
        """Seconds since boot, sleep included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> str:
        """The time of day. Formatting costs more than a step of the machine, so the last millisecond is kept."""
        millisecond = time.time_ns() // 1_000_000
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._text = rfc3339(millisecond / 1000)
        return self._text
