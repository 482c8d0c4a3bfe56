"""Events to all channels: numbered, dated, encoded once for each dialect, and written once for each burst.

The hub knows no socket. A channel is whatever has a dialect and takes bytes; a slow one keeps its own bounded outbox.
"""

from typing import Protocol

from taskd.model.events import Event
from taskd.services.clock import Clock
from taskd.wire.dialect import Dialect
from taskd.wire.envelope import Stamped
from taskd.wire.jsonline import encode


class Channel(Protocol):
    """One host, as the hub sees it."""

    @property
    def dialect(self) -> Dialect | None:
        """The tongue, once it is known; None means that the host is told nothing yet."""

    def put(self, data: bytes) -> None:
        """Take bytes for the host. Never blocks, never raises."""

    def flush(self) -> None:
        """Write what waits, as far as it goes."""


class Hub:
    """The place where events become bytes. `seq` counts them without gaps."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._channels: dict[Channel, None] = {}
        self._dirty: dict[Channel, None] = {}
        self._corks = 0
        self.seq = 0

    def attach(self, channel: Channel) -> None:
        """Tell this channel from now on."""
        self._channels[channel] = None

    def detach(self, channel: Channel) -> None:
        """Tell it no more."""
        self._channels.pop(channel, None)
        self._dirty.pop(channel, None)

    def publish(self, task_id: str | None, event: Event) -> None:
        """Tell every channel."""
        self.seq += 1
        if not self._channels:
            return
        stamped = self.stamp(event, task_id)
        lines: dict[str, bytes] = {}
        for channel in self._channels:
            dialect = channel.dialect
            if dialect is None:
                continue
            line = lines.get(dialect.name)
            if line is None:
                line = lines[dialect.name] = dialect.event(stamped)
            channel.put(line)
            self._dirty[channel] = None

    def stamp(self, event: Event, task_id: str | None = None) -> Stamped:
        """Give an event the current number and date; for what is told to one channel alone."""
        return Stamped(self.seq, self._clock.wall(), task_id, event.name, encode(event))

    def repeat_raw(self, lines: list[bytes]) -> None:
        """Give raw agent lines to the channels whose dialect wants them."""
        blocks: dict[str, bytes] = {}
        for channel in self._channels:
            dialect = channel.dialect
            if dialect is None or not dialect.raw_lines:
                continue
            block = blocks.get(dialect.name)
            if block is None:
                block = blocks[dialect.name] = dialect.raw(lines)
            self.send(channel, block)

    @property
    def wants_raw(self) -> bool:
        """Whether any channel wants raw agent lines."""
        return any(channel.dialect is not None and channel.dialect.raw_lines for channel in self._channels)

    def send(self, channel: Channel, line: bytes) -> None:
        """Give bytes to one channel; they are written at the end of the burst."""
        channel.put(line)
        self._dirty[channel] = None

    def __enter__(self) -> None:
        """Hold writes back until the end of the outermost block, so that a burst is one write.

        Entered twice for every call of a host: a generator-based context manager would cost as much as the decision.
        """
        self._corks += 1

    def __exit__(self, kind: object, fault: object, trace: object) -> None:
        self._corks -= 1
        if not self._corks:
            self.flush()

    def flush(self) -> None:
        """Let every channel that has something write it."""
        dirty, self._dirty = self._dirty, {}
        for channel in dirty:
            channel.flush()
