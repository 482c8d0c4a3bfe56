"""The floor: the least that any server in Python can do for a host, in a process of its own.

It blocks, decodes each line with msgspec and answers three lines in one write, in the words of a warm switch, so that
the same client code runs against it and against a daemon. A program: `python -P floor.py unix:/PATH | tcp`; it says on
stdout where it listens, and ends with its stdin.
"""

import os
import select
import socket
import sys
from collections.abc import Callable

import msgspec

_AT = b"2000-01-01T00:00:00.000Z"


class Rpc(msgspec.Struct):
    """A switch in JSON-RPC."""

    id: str
    method: str
    params: dict[str, str]

    def answer(self) -> bytes:
        """Give the three lines."""
        task = msgspec.json.encode(self.params["taskId"])
        reply = b'{"jsonrpc":"2.0","id":"%b","result":{"status":"switching","taskId":%b}}\n' % (self.id.encode(), task)
        event = b'{"jsonrpc":"2.0","method":"%b","params":{"seq":1,"at":"%b","taskId":%b}}\n'
        return reply + event % (b"task_switch_started", _AT, task) + event % (b"task_ready", _AT, task)


class P0(msgspec.Struct):
    """A switch in P0."""

    id: str
    type: str
    payload: dict[str, str]

    def answer(self) -> bytes:
        """Give the three lines."""
        task = msgspec.json.encode(self.payload["taskId"])
        reply = b'{"id":"%b","ok":true,"result":{"status":"switching","taskId":%b}}\n' % (self.id.encode(), task)
        event = b'{"type":"event","event":"%b","timestamp":"%b","taskId":%b,"payload":{}}\n'
        return reply + event % (b"task_switch_started", _AT, task) + event % (b"task_ready", _AT, task)


def listen(address: str) -> socket.socket:
    """Open the listening socket and say where it is."""
    if address.startswith("unix:"):
        server = socket.socket(socket.AF_UNIX)
        server.bind(address.removeprefix("unix:"))
        said = address
    else:
        server = socket.create_server(("127.0.0.1", 0))
        said = f"tcp:127.0.0.1:{server.getsockname()[1]}"
    server.listen()
    os.write(1, said.encode() + b"\n")
    return server


def serve(host: socket.socket) -> None:
    """Answer one host until it goes."""
    decode: Callable[[bytes], Rpc | P0] | None = None
    while data := host.recv(1 << 16):
        for line in data.split(b"\n")[:-1]:
            if decode is None:
                kind: type[Rpc | P0] = Rpc if b'"jsonrpc"' in line else P0
                decode = msgspec.json.Decoder(kind).decode
            host.sendall(decode(line).answer())


def main() -> None:
    """Serve one host after the other until stdin ends."""
    with listen(sys.argv[1]) as server:
        while True:
            ready, _, _ = select.select([server.fileno(), 0], [], [])
            if 0 in ready:
                return
            host, _ = server.accept()
            with host:
                if host.family == socket.AF_INET:
                    host.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                serve(host)


if __name__ == "__main__":
    main()
