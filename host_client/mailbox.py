"""A bounded box between the one reader of a connection and a consumer that may be slow.

`put` never waits: when the box is full the oldest items go, and the consumer finds one `Lagged` in their place. So a
slow consumer costs its bound and nothing more, and never delays an answer.
Rules of this file: one event loop, any number of consumers, no knowledge of what the items are.
"""

from collections import deque
from typing import Final, Generic, TypeVar

import anyio
import anyio.lowlevel

from host_client.errors import HostError
from host_client.notices import Lagged

MAX_ITEMS: Final = 16_384
"""Items that wait; at 40,000 small events a second this is the time of a slow repaint of a screen."""

MAX_BYTES: Final = 8 << 20
"""Bytes that wait, by the weights given to `put`; the same as the guest's own bound for a slow host."""

_BREATH: Final = 64
"""Items taken in a row before the event loop is let run: a full box must not starve the reader that fills it."""

T = TypeVar("T")


class Closed(Exception):
    """Raised by `get` when the box is empty and nothing more will come."""


class Mailbox(Generic[T]):
    """Bounded by count and by weight; see the head of this file."""

    def __init__(self, max_items: int = MAX_ITEMS, max_bytes: int = MAX_BYTES) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._items: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._missed = 0
        self._taken = 0
        self._end: HostError | None = None
        self._closed = False
        self._asleep = False
        self._wake = anyio.Event()

    def put(self, item: T, weight: int = 256) -> None:
        """Add an item that weighs about `weight` bytes; the oldest go when there is no room."""
        self._items.append((item, weight))
        self._bytes += weight
        while len(self._items) > self._max_items or (self._bytes > self._max_bytes and len(self._items) > 1):
            self._bytes -= self._items.popleft()[1]
            self._missed += 1
        if self._asleep:
            self._asleep = False
            self._wake.set()

    def close(self, error: HostError | None = None) -> None:
        """Let consumers take what is there and then raise `error`, or `Closed`."""
        self._end, self._closed, self._asleep = error, True, False
        self._wake.set()

    def reopen(self) -> None:
        """Take back a `close`."""
        self._end, self._closed = None, False

    def __len__(self) -> int:
        return len(self._items)

    async def get(self) -> T | Lagged:
        """Take the next item, or a `Lagged` for those that went.

        Raises:
            Closed: nothing more will come.
            HostError: what the box was closed with.
        """
        await self._breathe()
        while not self._items:
            if self._closed:
                raise self._end or Closed
            if not self._asleep:
                self._asleep, self._wake = True, anyio.Event()
            await self._wake.wait()
        if self._missed:
            missed, self._missed = self._missed, 0
            return Lagged(missed)
        item, weight = self._items.popleft()
        self._bytes -= weight
        return item

    async def _breathe(self) -> None:
        self._taken += 1
        if self._taken % _BREATH == 0:
            await anyio.lowlevel.checkpoint()
