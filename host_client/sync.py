"""The client for scripts that are not async: the same calls, and they block.

    from host_client import sync

    with sync.connect() as client:
        client.activate("t1")
        for item in client.prompt("t1", "What is in this folder?"):
            print(item)
        print(client.mirror.active_task_id)

An event loop of its own runs in a thread for as long as the block is open. A client may be used from several threads at
once. Results and errors are those of `host_client.client`; nothing is decided here.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from functools import partial, wraps
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from anyio.from_thread import BlockingPortal, start_blocking_portal

from host_client import connecting
from host_client.client import Client
from host_client.mirror import Mirror
from host_client.notices import Notice
from host_client.subscription import Item, Subscription
from host_client.turn import Turn
from host_client.turning import TurnItem, TurnResult
from taskd.model.calls import InitializeResult

Q = ParamSpec("Q")
T = TypeVar("T")


class _Blocking(Generic[Q, T]):
    """A coroutine method of `Client` as a method of `SyncClient`."""

    def __init__(self, method: Callable[Concatenate[Any, Q], Awaitable[T]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, owner: None, kind: type[object]) -> Self: ...
    @overload
    def __get__(self, owner: "SyncClient", kind: type[object]) -> Callable[Q, T]: ...
    def __get__(self, owner: "SyncClient | None", kind: type[object]) -> Self | Callable[Q, T]:
        if owner is None:
            return self
        method = partial(self._method, owner.client)

        @wraps(self._method)
        def call(*args: Q.args, **kwargs: Q.kwargs) -> T:
            return owner.portal.call(partial(method, *args, **kwargs))

        return call


class SyncStream(Generic[T]):
    """An async iterator as an iterator."""

    def __init__(self, portal: BlockingPortal, source: AsyncIterator[T]) -> None:
        self._portal = portal
        self._source = source

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        found = self._portal.call(_next, self._source)
        if not found:
            raise StopIteration
        return found[0]


class SyncTurn(SyncStream[TurnItem | Notice]):
    """A turn: iterate it for what happens; `result` takes what is left and waits for the end."""

    def __init__(self, portal: BlockingPortal, turn: Turn) -> None:
        super().__init__(portal, turn)
        self._turn = turn

    def start(self) -> "SyncTurn":
        """Send the prompt and return when it is accepted."""
        self._portal.call(self._turn.start)
        return self

    def text(self) -> SyncStream[str]:
        """Iterate over the pieces of the agent's answer alone."""
        return SyncStream(self._portal, self._turn.text())

    @property
    def result(self) -> TurnResult:
        """What the turn came to. Raises `TurnFailed` if it ended with `task_error`."""
        return self._portal.call(self._turn.wait)

    @property
    def turn_id(self) -> str | None:
        """The guest's id of the turn, once it was accepted."""
        return self._turn.turn_id


class SyncEvents(SyncStream[Item]):
    """A subscription; close it, or use it as a context."""

    def __init__(self, portal: BlockingPortal, subscription: Subscription) -> None:
        super().__init__(portal, subscription)
        self._subscription = subscription

    def close(self) -> None:
        """Take nothing more."""
        self._portal.call(self._subscription.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SyncClient:
    """A connected host, blocking. Made by `connect`; the methods are those of `host_client.client.Client`."""

    def __init__(self, portal: BlockingPortal, client: Client) -> None:
        self.portal = portal
        self.client = client

    open = _Blocking(Client.open)
    stop = _Blocking(Client.stop)
    switch = _Blocking(Client.switch)
    activate = _Blocking(Client.activate)
    get_state = _Blocking(Client.get_state)
    fresh_mirror = _Blocking(Client.fresh_mirror)
    get_task = _Blocking(Client.get_task)
    get_session = _Blocking(Client.get_session)
    conversation = _Blocking(Client.conversation)
    steer = _Blocking(Client.steer)
    follow_up = _Blocking(Client.follow_up)
    abort = _Blocking(Client.abort)
    answer = _Blocking(Client.answer)
    list_models = _Blocking(Client.list_models)
    set_model = _Blocking(Client.set_model)
    initialize = _Blocking(Client.initialize)
    authenticate = _Blocking(Client.authenticate)
    ping = _Blocking(Client.ping)
    take_driver = _Blocking(Client.take_driver)
    release_driver = _Blocking(Client.release_driver)
    system_bash = _Blocking(Client.system_bash)
    diag = _Blocking(Client.diag)
    shutdown = _Blocking(Client.shutdown)
    reconnect = _Blocking(Client.reconnect)

    def prompt(self, *args: Any, **kwargs: Any) -> SyncTurn:
        """Start a turn; takes what `Client.prompt` takes. Nothing is sent before it is iterated, or asked for."""
        return SyncTurn(self.portal, self.client.prompt(*args, **kwargs))

    def events(self, task_id: str | None = None, *, raw: bool = False) -> SyncEvents:
        """Listen from now on; see `Client.events`."""
        return SyncEvents(self.portal, self.portal.call(partial(self.client.events, task_id, raw=raw)))

    @property
    def mirror(self) -> Mirror:
        """The guest's state. It is changed by the loop's thread: read what you need from it once."""
        return self.client.mirror

    @property
    def hello(self) -> InitializeResult | None:
        """What the guest said about itself."""
        return self.client.hello

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self.client.connected


def _facade(
    connect: Callable[Q, AbstractAsyncContextManager[Client]],
) -> Callable[Q, AbstractContextManager[SyncClient]]:
    @contextmanager
    @wraps(connect)
    def blocking(*args: Q.args, **kwargs: Q.kwargs) -> Iterator[SyncClient]:
        with (
            start_blocking_portal("asyncio") as portal,
            portal.wrap_async_context_manager(connect(*args, **kwargs)) as client,
        ):
            yield SyncClient(portal, client)

    return blocking


connect = _facade(connecting.connect)
"""Connect for the length of a `with`; takes what `host_client.connect` takes."""


async def _next(source: AsyncIterator[T]) -> tuple[T] | None:
    try:
        return (await anext(source),)
    except StopAsyncIteration:
        return None
