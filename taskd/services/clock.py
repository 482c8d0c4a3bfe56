"""Time, passed to whoever needs it, so that tests can hold it still."""

import time
from typing import Final, Protocol

from taskd.model.instants import rfc3339

_MILLISECOND: Final = 1_000_000
"""In nanoseconds."""


class Clock(Protocol):
    """Two clocks: one for deadlines, one for dates."""

    def mono(self) -> float:
        """Seconds that never go back and go on while the machine sleeps."""

    def wall(self) -> str:
        """The time of day, RFC 3339 in UTC with milliseconds."""


class SystemClock:
    """The real one. CLOCK_BOOTTIME counts the time a laptop or a guest was suspended, CLOCK_MONOTONIC does not.

    Formatting a date costs more than a step of the machine, so the text of the last millisecond and that of its second
    are kept.
    """

    def __init__(self) -> None:
        self._text = self._second_text = ""
        self._second = -1
        self._from = self._until = 0

    def mono(self) -> float:
        """Seconds since boot, sleep included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> str:
        """The time of day."""
        now = time.time_ns()
        if not self._from <= now < self._until:
            self._format(now // _MILLISECOND)
        return self._text

    def _format(self, millisecond: int) -> None:
        second, rest = divmod(millisecond, 1000)
        if second != self._second:
            self._second = second
            self._second_text = rfc3339(second).removesuffix("000Z")
        self._text = f"{self._second_text}{rest:03d}Z"
        self._from = millisecond * _MILLISECOND
        self._until = self._from + _MILLISECOND
