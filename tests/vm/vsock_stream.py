"""One stream between a host's socket and a port of the guest: vsock's packets, credit and end, without any I/O.

A program outside of the VM connects to a unix socket and writes `CONNECT PORT`; the guest's kernel is asked, and when a
process there listens, `OK PORT` comes back and then its bytes. That is how Firecracker and Cloud Hypervisor show a
guest's vsock, and what `host_client` calls `fc:/PATH:PORT`.

Rules: neither side's bytes are dropped. What the guest may send ahead is bounded by the credit that we give it, and
what the host's program may, by `MAX_AHEAD`.
"""

import struct
from enum import IntEnum
from typing import Final, NamedTuple

HEADER: Final = struct.Struct("<QQIIIHHIII")
"""Source CID, destination CID, source port, destination port, length, type, operation, flags, buffer, taken."""
STREAM_TYPE: Final = 1
COUNTER: Final = 1 << 32
"""Counters of bytes begin again at it."""
WINDOW: Final = 256 << 10
"""What the guest may send before the host's program has taken it; Linux has the same on its side."""
MAX_AHEAD: Final = 64 << 10
"""What is read from the host's program before the guest has taken it."""


class Operation(IntEnum):
    """What a packet is for."""

    REQUEST = 1
    RESPONSE = 2
    RESET = 3
    SHUTDOWN = 4
    DATA = 5
    CREDIT = 6
    CREDIT_WANTED = 7


NO_MORE_TO_READ: Final = 1
NO_MORE_TO_SEND: Final = 2
"""Flags of a shutdown: the sender of the packet will not read, or will not send."""


class Packet(NamedTuple):
    """A packet of either direction. `buffer` and `taken` are the credit that its sender gives."""

    source: tuple[int, int]
    destination: tuple[int, int]
    operation: int
    flags: int = 0
    buffer: int = WINDOW
    taken: int = 0
    data: bytes = b""

    def packed(self) -> bytes:
        """Give the bytes."""
        ends = (self.source[0], self.destination[0], self.source[1], self.destination[1])
        rest = (len(self.data), STREAM_TYPE, self.operation, self.flags, self.buffer, self.taken)
        return HEADER.pack(*ends, *rest) + self.data

    def refusal(self) -> "Packet":
        """Give the packet that says that there is no such stream."""
        return Packet(self.destination, self.source, Operation.RESET)


def unpack_packet(data: bytes) -> Packet:
    """Read a packet. Raises struct.error for one that is too short."""
    source, destination, source_port, port, length, _, operation, flags, buffer, taken = HEADER.unpack_from(data)
    body = data[HEADER.size : HEADER.size + length]
    return Packet((source, source_port), (destination, port), operation, flags, buffer, taken, body)


class Stream:
    """The state of one stream.

    Args:
        host: CID and port at our end.
        guest: CID and port at the guest's.

    Attributes:
        to_host: bytes for the host's program, which takes them off the front by `host_took`.
        over: the guest knows of no such stream any more; what is in `to_host` is still due.
        guest_is_done: no more bytes will come into `to_host`.
    """

    def __init__(self, host: tuple[int, int], guest: tuple[int, int]) -> None:
        self.to_host = bytearray()
        self.over = False
        self.guest_is_done = False
        self._host = host
        self._guest = guest
        self._to_guest = bytearray()
        self._asked = False
        self._open = False
        self._host_is_done = False
        self._shutdown_told = False
        self._credit_due = False
        self._reset_due = False
        self._buffer = 0
        self._guest_took = 0
        self._sent = 0
        self._taken = 0
        self._taken_told = 0

    def hear(self, packet: Packet) -> None:
        """Take a packet of the guest."""
        self._buffer, self._guest_took = packet.buffer, packet.taken
        match packet.operation:
            case Operation.RESPONSE:
                self._open = True
                greeting = b"OK %d\n" % self._host[1]
                # Not the guest's, so it is not to be counted as taken.
                self._taken = -len(greeting)
                self.to_host += greeting
            case Operation.DATA:
                self.to_host += packet.data
            case Operation.CREDIT_WANTED:
                self._credit_due = True
            case Operation.SHUTDOWN:
                self._hear_shutdown(packet.flags)
            case Operation.RESET:
                self.over = self.guest_is_done = True

    def say(self, data: bytes) -> None:
        """Take bytes of the host's program."""
        self._to_guest += data

    def room(self) -> int:
        """How much the host's program may say now."""
        return 0 if self._host_is_done or not self._open else max(0, MAX_AHEAD - len(self._to_guest))

    def host_ended(self) -> None:
        """The host's program will say no more, but still listens."""
        self._host_is_done = True

    def host_left(self) -> None:
        """The host's program is gone."""
        self.to_host.clear()
        self._reset_due = True

    def host_took(self, count: int) -> None:
        """The host's program took bytes of `to_host`."""
        del self.to_host[:count]
        self._taken += count
        self._credit_due = self._credit_due or self._taken - self._taken_told > WINDOW // 2

    def speaks(self) -> bool:
        """Say whether there is a packet for the guest now."""
        return self._due() is not None

    def next_packet(self, room: int) -> Packet:
        """Give the next packet for the guest, with at most `room` bytes of data; `speaks` must be so."""
        operation = self._due()
        assert operation is not None
        self._taken_told = max(0, self._taken)
        data, flags = b"", 0
        match operation:
            case Operation.REQUEST:
                self._asked = True
            case Operation.CREDIT:
                self._credit_due = False
            case Operation.SHUTDOWN:
                self._shutdown_told, flags = True, NO_MORE_TO_SEND
            case Operation.RESET:
                self.over = self.guest_is_done = True
            case Operation.DATA:
                data = self._next_data(room)
        return Packet(self._host, self._guest, operation, flags, WINDOW, self._taken_told % COUNTER, data)

    def _due(self) -> Operation | None:
        if self.over:
            return None
        if self._reset_due:
            return Operation.RESET
        if not self._asked:
            return Operation.REQUEST
        if self._credit_due:
            return Operation.CREDIT
        if self._open and self._to_guest:
            return Operation.DATA if self._credit() > 0 else None
        return Operation.SHUTDOWN if self._host_is_done and not self._shutdown_told else None

    def _next_data(self, room: int) -> bytes:
        data = bytes(self._to_guest[: min(room, self._credit())])
        del self._to_guest[: len(data)]
        self._sent = (self._sent + len(data)) % COUNTER
        return data

    def _hear_shutdown(self, flags: int) -> None:
        if flags & NO_MORE_TO_READ:
            self._to_guest.clear()
            self._host_is_done = self._shutdown_told = True
        if flags & NO_MORE_TO_SEND:
            self.guest_is_done = True
        # Both at once: the guest has closed it, and waits for this.
        self._reset_due = self._reset_due or flags == NO_MORE_TO_READ | NO_MORE_TO_SEND

    def _credit(self) -> int:
        return self._buffer - (self._sent - self._guest_took) % COUNTER
