"""`connect`: from an address to a client, for the length of an `async with`.

The only place where address, token, options, task group and client are put together. What the block raises leaves it as
it is, not wrapped in the exception group of the task group that serves the connection.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from os import PathLike
from typing import Any, Final

import anyio

from host_client.client import Client
from host_client.conversation import ConversationCache
from host_client.dial import dial, find_token, read_address
from host_client.greeting import Options
from host_client.link import Dialer
from taskd.wire.registry import TONGUES

CONNECT_SECONDS: Final = 10.0
"""One attempt to connect, greeting included."""


@asynccontextmanager
async def connect(
    address: str | Dialer | None = None,
    *,
    token: str | None = None,
    token_file: str | PathLike[str] | None = None,
    dialect: str = "jsonrpc",
    client_id: str | None = None,
    client_info: Mapping[str, Any] | None = None,
    timeout: float = CONNECT_SECONDS,
    wait: float = 0.0,
    reconnect: float | None = None,
    heartbeat: float | None = None,
    mirror: bool = True,
    cache_dir: str | PathLike[str] | None = None,
) -> AsyncIterator[Client]:
    """Connect to a guest, for the length of an `async with`.

    Args:
        address: `unix:/PATH`, `tcp:HOST:PORT`, `vsock:CID:PORT`, `fc:/PATH:PORT` (Firecracker's vsock) or
            `exec:COMMAND`; None for this user's own daemon; or a coroutine function that gives a stream of bytes.
        token: what TCP guests ask for; else from `token_file`, `TASKD_TOKEN`, or the daemon's own file on this machine.
        dialect: `jsonrpc`, or `p0` for a guest of the replaced system.
        client_id: who you are to the guest, which keeps its memory of your requests by it; random if None.
        timeout: seconds for one attempt to connect, the guest's first answer included.
        wait: seconds to go on trying while it does not work.
        reconnect: seconds to try to get a lost connection back by itself; None leaves that to `Client.reconnect`.
        heartbeat: seconds between signs of life that are asked for; without one the connection counts as lost.
        mirror: keep `Client.mirror` true by asking for the state whenever events do not tell it.
        cache_dir: where `Client.conversation` keeps its cache; None keeps none.

    Raises:
        DialFailed: with what to do next.
        ValueError: there is no such dialect.
    """
    if dialect not in TONGUES:
        raise ValueError(f"no dialect {dialect!r}; there is {', '.join(sorted(TONGUES))}")
    name, dialer, token_of = _ways(address, token, token_file)
    options = Options(
        client_id=client_id or secrets.token_hex(8),
        dialect=dialect,
        client_info=dict(client_info or {"name": "host_client"}),
        find_token=token_of,
        timeout=timeout,
        reconnect=reconnect,
        heartbeat=heartbeat,
        mirror=mirror,
    )
    async with _serving(name, dialer, options, ConversationCache(cache_dir), wait) as client:
        yield client


@asynccontextmanager
async def _serving(
    name: str, dialer: Dialer, options: Options, cache: ConversationCache, wait: float
) -> AsyncIterator[Client]:
    failure: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        client = Client(tasks, name, dialer, options, cache)
        try:
            await client.start(wait)
            yield client
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            # Kept from the task group, which would wrap it in an exception group.
            failure = error
        finally:
            await client.aclose()
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _ways(
    address: str | Dialer | None, token: str | None, token_file: str | PathLike[str] | None
) -> tuple[str, Dialer, Callable[[], str | None]]:
    """Give a name for messages, what makes the connection, and what finds the token."""
    if callable(address):
        return "your stream", address, lambda: token
    target = read_address(address)
    return str(target), partial(dial, target), partial(find_token, target, token, token_file)
