"""One consumer's view of the event stream: filtered, bounded, and clear about what it has missed.

    async for item in client.events("t1"):
        match item:
            case GuestEvent(event=AgentOutput(chunk=chunk)): ...
            case Lagged(missed=count): ...

It is subscribed from its making on, so nothing is lost between `events()` and the first item, and it ends when it is
closed or no longer referred to.
"""

from types import TracebackType
from typing import Self

from host_client.errors import HostError
from host_client.mailbox import Closed, Mailbox
from host_client.notices import GuestEvent, Lagged, Notice, RawLine

Item = GuestEvent | RawLine | Notice
"""What a subscription gives."""


class Subscription:
    """An async iterator of `Item`.

    It ends when it is closed or the client is; it raises `ConnectionLost` when the connection is lost for good. After
    `Client.reconnect` it can be iterated again, and begins with `Reconnected`.

    Args:
        task_id: only this task's events, and those of no task.
        raw: also raw agent lines.
        box: what waits for the consumer.
    """

    def __init__(self, task_id: str | None, *, raw: bool, box: Mailbox[Item]) -> None:
        self._task_id = task_id
        self._raw = raw
        self._box = box
        self._closed = False

    def offer(self, item: GuestEvent) -> None:
        """Take an event from the reader, if it is one of those asked for."""
        if self._task_id is None or item.task_id is None or item.task_id == self._task_id:
            self._box.put(item, len(item.told.body) + 256)

    def offer_raw(self, line: bytes) -> None:
        """Take a raw line from the reader."""
        if self._raw:
            self._box.put(RawLine(line), len(line))

    def notify(self, notice: Notice) -> None:
        """Take a notice of the client."""
        if not self._closed:
            self._box.reopen()
            self._box.put(notice)

    def end(self, error: HostError | None) -> None:
        """Let the consumer take what is there, and then raise `error` or stop."""
        self._box.close(error)

    def close(self) -> None:
        """Take nothing more."""
        self._closed = True
        self._box.close()

    @property
    def closed(self) -> bool:
        """Whether the consumer has closed it."""
        return self._closed

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item | Lagged:
        try:
            return await self._box.get()
        except Closed:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
