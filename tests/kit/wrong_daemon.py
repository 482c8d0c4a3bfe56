"""A daemon that keeps no contract: to the first line of each connection it answers what it was told to, and then hears.

with WrongDaemon([{"id": 1}]) as fake:
    run(fake.address)
"""

import json
import socket
import threading
from types import TracebackType
from typing import Any

PATIENCE_SECONDS = 10.0


class WrongDaemon:
    """A listening socket with a thread behind it.

    Args:
        lines: what it says; bytes as they are, other values as JSON.
        hang_up: whether it closes each connection at once.
    """

    def __init__(self, lines: list[Any], *, hang_up: bool = False) -> None:
        said = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        self._said = b"".join(line + b"\n" for line in said)
        self._hang_up = hang_up
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self.address = f"tcp:127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "WrongDaemon":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        # Closing alone would leave the thread in accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE_SECONDS)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(PATIENCE_SECONDS)
                self._answer(peer)

    def _answer(self, peer: socket.socket) -> None:
        if self._hang_up:
            return
        try:
            if peer.recv(1 << 16):
                peer.sendall(self._said)
            while peer.recv(1 << 16):
                pass
        except OSError:
            return
