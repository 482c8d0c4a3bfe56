"""The host's end of a guest's vsock, as a program: QEMU on one socket, programs that want into the guest on others.

    python -m tests.vm.vsock_backend GUEST_CID EMULATOR_FD DOOR_FD=CID [DOOR_FD=CID ...]

With the kernel's own vhost-vsock this needs neither root nor a device of the host. All sockets are passed as listening
descriptors, so whoever starts this may connect at once. A door lets its programs come from the CID that is named: 2 is
the host, another one plays a guest beside ours. It ends when QEMU does. The guest itself can connect to nothing here.
"""

import os
import selectors
import socket
import struct
import sys
from collections.abc import Callable
from itertools import count
from typing import Final

from tests.vm.vhost_user import Device
from tests.vm.vsock_stream import HEADER, Operation, Packet, Stream, unpack_packet

RECEIVE, TRANSMIT = 0, 1
"""Queues, named from the guest's side."""
FIRST_PORT: Final = 1 << 30
MAX_GREETING: Final = len("CONNECT 4294967295\n")
MAX_REFUSALS: Final = 256
"""Packets for streams that are not there, waiting for their answer; the guest's own are not read meanwhile."""
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Program:
    """A program that connected to a door: its socket, and its stream once it has named a port."""

    def __init__(self, sock: socket.socket, cid: int) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.cid = cid
        self.greeting = b""
        self.stream: Stream | None = None
        self.shut = False

    def interest(self) -> int:
        """Say what to wait for on its socket."""
        if self.stream is None:
            return READ
        return (READ if self.stream.room() else 0) | (WRITE if self.stream.to_host else 0)


class Backend:
    """Everything, on one selector. `run` returns when QEMU is gone."""

    def __init__(self, guest_cid: int, emulator: socket.socket) -> None:
        self._guest_cid = guest_cid
        self._selector = selectors.DefaultSelector()
        self._device = Device(emulator, struct.pack("<Q", guest_cid), self._watch_kick)
        self._selector.register(emulator, READ, self._hear_emulator)
        self._streams: dict[tuple[int, int, int], tuple[Stream, Program]] = {}
        self._refusals: list[Packet] = []
        self._ports = count(FIRST_PORT)
        self._running = True

    def open_door(self, door: socket.socket, cid: int) -> None:
        """Let programs in that come from a CID."""
        self._selector.register(door, READ, lambda _: self._welcome(Program(door.accept()[0], cid)))

    def run(self) -> None:
        """Work until QEMU is gone."""
        while self._running:
            for key, events in self._selector.select():
                key.data(events)
            self._hear_guest()
            self._tell_guest()
            for stream, program in list(self._streams.values()):
                self._settle(stream, program)

    # QEMU and its guest ---------------------------------------------------------------------------------------------

    def _hear_emulator(self, _: int) -> None:
        self._running = self._device.serve_one()

    def _watch_kick(self, number: int, fd: int | None) -> None:
        known = self._device.queues[number].kick_fd
        if fd is not None:
            # What there is to do is looked for after every event; this one only has to be taken off.
            self._selector.register(fd, READ, lambda _: os.eventfd_read(fd))
        elif known is not None:
            self._selector.unregister(known)

    def _hear_guest(self) -> None:
        queue = self._device.queues[TRANSMIT]
        while len(self._refusals) < MAX_REFUSALS and (chain := queue.take()):
            packet = unpack_packet(chain.read())
            queue.give_back(chain)
            known = self._streams.get((*packet.destination, packet.source[1]))
            if known is not None:
                known[0].hear(packet)
            elif packet.operation != Operation.RESET:
                self._refusals.append(packet.refusal())

    def _tell_guest(self) -> None:
        queue = self._device.queues[RECEIVE]
        while packet_of := self._next_speaker():
            chain = queue.take()
            if chain is None:
                return
            packet = packet_of(chain.room() - HEADER.size)
            data = packet.packed()
            chain.write(data)
            queue.give_back(chain, len(data))

    def _next_speaker(self) -> Callable[[int], Packet] | None:
        """Find who has a packet for the guest. Buffers differ in size, so the packet is made when there is one."""
        if self._refusals:
            return lambda _: self._refusals.pop(0)
        for key, (stream, _) in self._streams.items():
            if stream.speaks():
                # To the end, so that each has its turn.
                self._streams[key] = self._streams.pop(key)
                return stream.next_packet
        return None

    # Programs -------------------------------------------------------------------------------------------------------

    def _welcome(self, program: Program) -> None:
        self._selector.register(program.sock, READ, lambda events: self._serve(program, events))

    def _serve(self, program: Program, events: int) -> None:
        try:
            if program.stream is None:
                self._greet(program)
                return
            if events & WRITE:
                program.stream.host_took(program.sock.send(program.stream.to_host))
            if events & READ:
                self._hear_program(program, program.stream)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            self._drop(program)

    def _greet(self, program: Program) -> None:
        # Byte by byte: what follows the line is for the guest.
        byte = program.sock.recv(1)
        program.greeting += byte
        if not byte or len(program.greeting) > MAX_GREETING:
            raise ValueError(program.greeting)
        if byte == b"\n":
            word, port = program.greeting.split()
            if word != b"CONNECT":
                raise ValueError(program.greeting)
            self._connect(program, int(port))

    def _connect(self, program: Program, guest_port: int) -> None:
        host_port = next(self._ports)
        program.stream = Stream((program.cid, host_port), (self._guest_cid, guest_port))
        self._streams[program.cid, host_port, guest_port] = (program.stream, program)

    def _hear_program(self, program: Program, stream: Stream) -> None:
        data = program.sock.recv(stream.room())
        if data:
            stream.say(data)
        else:
            stream.host_ended()

    def _settle(self, stream: Stream, program: Program) -> None:
        """Bring the socket to where its stream is now."""
        if program.sock.fileno() < 0:
            if stream.over:
                self._forget(stream)
            return
        if stream.guest_is_done and not stream.to_host and not program.shut:
            program.shut = True
            program.sock.shutdown(socket.SHUT_WR)
        if stream.over and not stream.to_host:
            self._drop(program)
            self._forget(stream)
            return
        self._watch(program)

    def _watch(self, program: Program) -> None:
        interest = program.interest()
        watched = self._selector.get_map().get(program.sock)
        if watched is None and interest:
            self._selector.register(program.sock, interest, lambda events: self._serve(program, events))
        elif watched is not None and not interest:
            self._selector.unregister(program.sock)
        elif watched is not None and watched.events != interest:
            self._selector.modify(program.sock, interest, watched.data)

    def _drop(self, program: Program) -> None:
        if program.stream is not None and not program.stream.over:
            program.stream.host_left()
        if program.sock in self._selector.get_map():
            self._selector.unregister(program.sock)
        program.sock.close()

    def _forget(self, stream: Stream) -> None:
        self._streams = {key: pair for key, pair in self._streams.items() if pair[0] is not stream}


def main(arguments: list[str]) -> None:
    """Serve one QEMU."""
    guest_cid, emulator_fd, *doors = arguments
    with socket.socket(fileno=int(emulator_fd)) as listener:
        emulator, _ = listener.accept()
    backend = Backend(int(guest_cid), emulator)
    for door in doors:
        fd, _, cid = door.partition("=")
        backend.open_door(socket.socket(fileno=int(fd)), int(cid))
    backend.run()


if __name__ == "__main__":
    main(sys.argv[1:])
