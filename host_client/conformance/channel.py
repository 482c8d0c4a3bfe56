"""One connection as the replay uses it: lines out, lines in as JSON, each wait bounded."""

import json
from collections import deque
from contextlib import suppress
from typing import Any, Final

import anyio
from anyio.abc import ByteStream

from host_client.dial import Target, dial
from host_client.errors import DialFailed
from taskd.wire.framing import LineSplitter, TooLong

MAX_LINE_BYTES: Final = 64 << 20
"""The longest line taken from a daemon; the conversations make short ones."""

KEPT_LINES: Final = 6
"""Lines that are kept to show what came before a difference."""


class Broken(Exception):
    """The conversation did not go as written; the message says where and how."""


class Channel:
    """A connection with a name.

    Args:
        name: the transcript's.
        stream: owned from here on.
        patience: seconds for any one wait.
    """

    def __init__(self, name: str, stream: ByteStream, patience: float) -> None:
        self.name = name
        self.history: deque[str] = deque(maxlen=KEPT_LINES)
        self._stream = stream
        self._patience = patience
        self._splitter = LineSplitter(MAX_LINE_BYTES)
        self._lines: deque[bytes | TooLong] = deque()
        self._back: deque[Any] = deque()

    @classmethod
    async def open(cls, name: str, target: Target, patience: float) -> "Channel":
        """Connect.

        Raises:
            Broken: nobody answers there.
        """
        try:
            with anyio.fail_after(patience):
                return cls(name, await dial(target), patience)
        except TimeoutError:
            raise Broken(f"no connection within {patience:g} s") from None
        except DialFailed as error:
            raise Broken(str(error)) from error

    async def send(self, line: bytes) -> None:
        """Say one line. Raises Broken."""
        try:
            with anyio.fail_after(self._patience):
                await self._stream.send(line + b"\n")
        except (TimeoutError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise Broken(f"the daemon does not take what is said on channel {self.name}") from error

    async def receive(self) -> Any:
        """Give the next line, decoded. Raises Broken at the end, after `patience`, and for what is no JSON."""
        if self._back:
            return self._back.popleft()
        try:
            with anyio.fail_after(self._patience):
                line = await self._line()
        except TimeoutError:
            raise Broken(f"nothing more came within {self._patience:g} s on channel {self.name}") from None
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            raise Broken(f"the daemon closed channel {self.name}") from None
        return self._decode(line)

    def put_back(self, message: Any) -> None:
        """Let the next `receive` give this once more."""
        self._back.append(message)

    async def close(self) -> list[Any]:
        """Say goodbye and give what the daemon still says; it has forgotten the channel when this returns."""
        rest: list[Any] = []
        with suppress(Broken, TimeoutError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            with anyio.fail_after(self._patience):
                await self._stream.send_eof()
                while True:
                    rest.append(await self.receive())
        await anyio.aclose_forcefully(self._stream)
        return rest

    async def _line(self) -> bytes | TooLong:
        while not self._lines:
            self._lines.extend(self._splitter.feed(await self._stream.receive()))
        return self._lines.popleft()

    def _decode(self, line: bytes | TooLong) -> Any:
        if isinstance(line, TooLong):
            raise Broken(f"the daemon sent a line of more than {MAX_LINE_BYTES} bytes")
        text = line.decode("utf-8", "replace")
        self.history.append(text)
        try:
            return json.loads(text)
        except ValueError:
            raise Broken(f"the daemon sent a line that is no JSON: {text[:200]}") from None
