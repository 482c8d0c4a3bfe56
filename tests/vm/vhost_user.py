"""The vhost-user protocol, from the side of a device that is a process of its own: QEMU asks, we do and answer.

A message is a header of three 32-bit numbers (request, flags, size) and its payload; descriptors come beside it. Only
what QEMU asks of a vsock device is here. The description is QEMU's `docs/interop/vhost-user.rst`.
"""

import os
import socket
import struct
from collections.abc import Callable
from typing import Final

from tests.vm.virtqueue import GuestMemory, Queue, map_region

HEADER: Final = struct.Struct("<III")
VERSION: Final = 1
IS_REPLY: Final = 4
NUMBER: Final = struct.Struct("<Q")
PAIR: Final = struct.Struct("<II")
REGION: Final = struct.Struct("<QQQQ")
"""Guest address, length, address in the emulator, offset in the file."""
RING_ADDRESSES: Final = struct.Struct("<IIQQQQ")
"""Queue, flags, descriptors, used ring, available ring, log."""
CONFIG: Final = struct.Struct("<III")
"""Offset, size, flags."""
FEATURES: Final = 1 << 32 | 1 << 30
"""VIRTIO_F_VERSION_1, and that the protocol has features of its own."""
PROTOCOL_FEATURES: Final = 1 << 9
"""That we know the device's configuration."""
NO_DESCRIPTOR: Final = 0x100
QUEUES: Final = 3
"""Receive, transmit, event; QEMU keeps the last for itself."""
MAX_PAYLOAD: Final = 4096
"""The longest message has some 300 bytes."""
MAX_DESCRIPTORS: Final = 8
"""One for each region of memory; the protocol's own bound."""


class Device:
    """What QEMU sees on the socket.

    Args:
        emulator: the connected socket.
        config: the bytes of the device's configuration space.
        on_kick: called with a queue's number and its new kick descriptor, or None when it is gone.
    """

    def __init__(self, emulator: socket.socket, config: bytes, on_kick: Callable[[int, int | None], None]) -> None:
        self.memory = GuestMemory()
        self.queues = [Queue(self.memory) for _ in range(QUEUES)]
        self._emulator = emulator
        self._config = config
        self._on_kick = on_kick
        self._answers: dict[int, Callable[[bytes, list[int]], bytes | None]] = {
            1: lambda *_: NUMBER.pack(FEATURES),
            5: self._set_memory,
            8: self._set_size,
            9: self._set_addresses,
            10: self._set_base,
            11: self._get_base,
            12: self._set_kick,
            13: self._set_call,
            15: lambda *_: NUMBER.pack(PROTOCOL_FEATURES),
            17: lambda *_: NUMBER.pack(QUEUES),
            18: self._enable,
            24: self._get_config,
        }

    def serve_one(self) -> bool:
        """Read one message and do what it asks; False at the end of the socket."""
        header, descriptors, _, _ = socket.recv_fds(self._emulator, HEADER.size, MAX_DESCRIPTORS)
        if not header:
            return False
        request, _, size = HEADER.unpack(header + self._rest(HEADER.size - len(header)))
        if size > MAX_PAYLOAD:
            raise ValueError(f"a message of {size} bytes")
        told = self._answers.get(request, _nothing)(self._rest(size), descriptors)
        for fd in descriptors:
            os.close(fd)
        if told is not None:
            self._emulator.sendall(HEADER.pack(request, VERSION | IS_REPLY, len(told)) + told)
        return True

    def _rest(self, size: int) -> bytes:
        return self._emulator.recv(size, socket.MSG_WAITALL) if size else b""

    # Each takes the payload and the descriptors, and removes from their list what it keeps. ---------------------------

    def _set_memory(self, payload: bytes, descriptors: list[int]) -> None:
        (count,) = struct.unpack_from("<I", payload)
        places = REGION.iter_unpack(payload[PAIR.size : PAIR.size + REGION.size * count])
        self.memory.replace([map_region(*place, fd=descriptors.pop(0)) for place in places])

    def _set_size(self, payload: bytes, _: list[int]) -> None:
        number, size = PAIR.unpack(payload)
        self.queues[number].size = size

    def _set_addresses(self, payload: bytes, _: list[int]) -> None:
        number, _flags, descriptors, used, available, _log = RING_ADDRESSES.unpack(payload)
        self.queues[number].place(descriptors, used, available)

    def _set_base(self, payload: bytes, _: list[int]) -> None:
        number, base = PAIR.unpack(payload)
        self.queues[number].next = base

    def _get_base(self, payload: bytes, _: list[int]) -> bytes:
        number, _base = PAIR.unpack(payload)
        self._take_kick(number, None)
        return PAIR.pack(number, self.queues[number].stop())

    def _set_kick(self, payload: bytes, descriptors: list[int]) -> None:
        (number,) = NUMBER.unpack(payload)
        self._take_kick(number & 0xFF, None if number & NO_DESCRIPTOR else descriptors.pop())

    def _set_call(self, payload: bytes, descriptors: list[int]) -> None:
        (number,) = NUMBER.unpack(payload)
        queue = self.queues[number & 0xFF]
        if queue.call_fd is not None:
            os.close(queue.call_fd)
        queue.call_fd = None if number & NO_DESCRIPTOR else descriptors.pop()

    def _enable(self, payload: bytes, _: list[int]) -> None:
        number, enabled = PAIR.unpack(payload)
        self.queues[number].enabled = bool(enabled)

    def _get_config(self, payload: bytes, _: list[int]) -> bytes:
        offset, size, _flags = CONFIG.unpack_from(payload)
        return payload[: CONFIG.size] + self._config[offset : offset + size].ljust(size, b"\0")

    def _take_kick(self, number: int, fd: int | None) -> None:
        queue = self.queues[number]
        if queue.kick_fd is not None:
            self._on_kick(number, None)
            os.close(queue.kick_fd)
        queue.kick_fd = fd
        if fd is not None:
            self._on_kick(number, fd)


def _nothing(_: bytes, __: list[int]) -> None:
    """What there is to do for a request that only informs."""
