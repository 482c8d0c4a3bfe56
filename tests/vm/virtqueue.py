"""A guest's memory and the queues in it, as a virtio device sees them (virtio 1.2, split virtqueues).

The guest puts buffers into a queue as chains of descriptors and offers them in a ring; the device takes a chain, fills
or reads it, and hands it back in the other ring. No feature is offered that would change this form.

RACE: the guest's processor writes the same memory at the same time. A ring's index is written last and read first, as
one machine word, and x86 keeps the order of writes; so what an index covers is whole.
"""

import mmap
import os
import struct
from collections.abc import Callable
from typing import Final, NamedTuple

DESCRIPTOR: Final = struct.Struct("<QIHH")
"""Address, length, flags, next."""
HAS_NEXT: Final = 1
DEVICE_WRITES: Final = 2
INDEX: Final = struct.Struct("<H")
USED: Final = struct.Struct("<II")
"""Head of the chain, bytes written."""
RING_AT: Final = 4
"""Both rings begin with flags and an index of two bytes each."""
WRAP: Final = 1 << 16
MAX_CHAIN: Final = 256
"""Descriptors of one chain; a guest that loops them is broken."""


class MemoryFault(Exception):
    """The guest named an address or a chain that is none."""


class Region(NamedTuple):
    """A piece of the guest's memory. `host_address` is its address in the emulator, which rings are told by."""

    guest_address: int
    length: int
    host_address: int
    memory: memoryview


class GuestMemory:
    """All regions of a guest."""

    def __init__(self) -> None:
        self._regions: list[Region] = []

    def replace(self, regions: list[Region]) -> None:
        """Take over new regions in place of all others."""
        self._regions = regions

    def view(self, address: int, length: int) -> memoryview:
        """Give bytes by their guest address. Raises MemoryFault."""
        return self._find(address, length, lambda region: region.guest_address)

    def view_by_host(self, address: int, length: int) -> memoryview:
        """Give bytes by their address in the emulator. Raises MemoryFault."""
        return self._find(address, length, lambda region: region.host_address)

    def _find(self, address: int, length: int, start_of: Callable[[Region], int]) -> memoryview:
        for region in self._regions:
            at = address - start_of(region)
            if 0 <= at <= region.length - length:
                return region.memory[at : at + length]
        raise MemoryFault(f"no memory at {address:#x}")


def map_region(guest_address: int, length: int, host_address: int, offset: int, *, fd: int) -> Region:
    """Map a region from its file, which is closed."""
    try:
        whole = mmap.mmap(fd, offset + length)
    finally:
        os.close(fd)
    return Region(guest_address, length, host_address, memoryview(whole)[offset:])


class Chain(NamedTuple):
    """Buffers that the guest lent: some to read, some to write."""

    head: int
    readable: list[memoryview]
    writable: list[memoryview]

    def room(self) -> int:
        """How many bytes can be written."""
        return sum(map(len, self.writable))

    def read(self) -> bytes:
        """Give what the guest wrote."""
        return b"".join(self.readable)

    def write(self, data: bytes) -> None:
        """Fill the buffers; `data` must fit."""
        at = 0
        for part in self.writable:
            piece = data[at : at + len(part)]
            part[: len(piece)] = piece
            at += len(piece)


class Queue:
    """One virtqueue. Its fields are set by the emulator; it is worked when `enabled` and told where it is."""

    def __init__(self, memory: GuestMemory) -> None:
        self._memory = memory
        self.size = 0
        self.next = 0
        """Index of the next chain to take."""
        self.enabled = False
        self.kick_fd: int | None = None
        self.call_fd: int | None = None
        self._used_next = 0
        self._places: tuple[memoryview, memoryview, memoryview] | None = None

    def place(self, descriptors: int, used: int, available: int) -> None:
        """Take the addresses of the three parts, by the emulator's addresses. The size must be known."""
        view = self._memory.view_by_host
        self._places = (
            view(descriptors, DESCRIPTOR.size * self.size),
            view(used, RING_AT + USED.size * self.size),
            view(available, RING_AT + INDEX.size * self.size),
        )
        self._used_next = INDEX.unpack_from(self._places[1], 2)[0]

    def take(self) -> Chain | None:
        """Take the next chain that the guest offers; None when there is none."""
        if not self.enabled or self._places is None:
            return None
        descriptors, _, available = self._places
        if INDEX.unpack_from(available, 2)[0] == self.next:
            return None
        (head,) = INDEX.unpack_from(available, RING_AT + INDEX.size * (self.next % self.size))
        self.next = (self.next + 1) % WRAP
        return self._chain(descriptors, head)

    def give_back(self, chain: Chain, written: int = 0) -> None:
        """Hand a chain back and interrupt the guest."""
        if self._places is None:
            return
        used = self._places[1]
        USED.pack_into(used, RING_AT + USED.size * (self._used_next % self.size), chain.head, written)
        self._used_next = (self._used_next + 1) % WRAP
        INDEX.pack_into(used, 2, self._used_next)
        if self.call_fd is not None:
            os.eventfd_write(self.call_fd, 1)

    def stop(self) -> int:
        """Stop, and give the index of the next chain."""
        self.enabled = False
        self._places = None
        return self.next

    def _chain(self, descriptors: memoryview, head: int) -> Chain:
        chain = Chain(head, [], [])
        at = head
        for _ in range(MAX_CHAIN):
            address, length, flags, following = DESCRIPTOR.unpack_from(descriptors, DESCRIPTOR.size * at)
            part = self._memory.view(address, length)
            (chain.writable if flags & DEVICE_WRITES else chain.readable).append(part)
            if not flags & HAS_NEXT:
                return chain
            at = following
        raise MemoryFault("a chain without an end")
