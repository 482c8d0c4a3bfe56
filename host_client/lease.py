"""Whether this host drives, worked out from what it hears. No I/O.

The guest gives the driver lease to the first channel that changes something, and takes it back when that channel ends.
It tells every change as `driver_changed` with the holder's channel number, but not which number is ours. So: whoever
has just changed something holds the lease; the holder known then is us, or else the one of the next `driver_changed`.

A host that comes back on a new connection may find the lease with its own old channel, of which the guest has not yet
seen the end (half-open TCP, a paused VM). It may take that one by force, and only that one.
"""

from taskd.model.events import DriverChanged


class Lease:
    """What one connection after another knows of the lease.

    Attributes:
        ours: whether we hold it, as far as we have heard.
        channel: our channel's number on the connection that we held it on, once it is known.
    """

    def __init__(self) -> None:
        self.ours = False
        self.channel: int | None = None
        self._holder: int | None = None

    def changed(self) -> None:
        """The guest has carried out a change that needs the lease."""
        self.ours = True
        if self.channel is None:
            self.channel = self._holder

    def taken(self) -> None:
        """The guest has given us the lease because we asked for it; `driver_changed` follows if that was new."""
        self.ours = True
        if self.channel != self._holder:
            self._holder = None

    def released(self) -> None:
        """We have given it back, or were told that another holds it."""
        self.ours = False

    def hear(self, event: DriverChanged) -> None:
        """Take a `driver_changed`."""
        holder = event.channel if event.held else None
        if self.ours and self.channel is None and self._holder is None:
            self.channel = holder
        self._holder = holder
        self.ours = self.ours and holder is not None and holder == self.channel

    def reconnected(self) -> None:
        """There is a new connection: our number is another one, and the holder is not known."""
        self.channel = self._holder = None
