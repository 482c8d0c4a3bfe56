"""The guest that a command is for: how it is reached, how its user is answered, and the exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from host_client.client import Client

REFUSED, NO_CONNECTION, TIMED_OUT, INTERRUPTED = 1, 3, 4, 130
"""Exit codes; click's own for wrong usage is 2."""


class Guest:
    """The guest that a command is for, and how its user wants to be answered."""

    def __init__(
        self,
        address: str | None = None,
        token_file: str | None = None,
        dialect: str = "jsonrpc",
        *,
        as_json: bool = False,
        force: bool = False,
    ) -> None:
        self.address = address
        self.token_file = token_file
        self.dialect = dialect
        self.as_json = as_json
        self.force = force

    def connect(self, *, reconnect: float | None = None) -> AbstractAsyncContextManager[Client]:
        """Connect for the length of an `async with`."""
        from host_client.connecting import connect

        info = {"name": "taskctl"}
        return connect(
            self.address, token_file=self.token_file, dialect=self.dialect, client_info=info, reconnect=reconnect
        )

    async def drive(self, client: Client) -> None:
        """Take the lease from whoever holds it, if the user said so."""
        if self.force:
            await client.take_driver(force=True)

    def tell(self, result: Any, people: Callable[[], object]) -> None:
        """Answer with one JSON line for machines, or by `people`."""
        if self.as_json:
            tell_json(result)
        else:
            people()


def tell_json(value: Any) -> None:
    """Write one JSON line."""
    import msgspec

    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


def usage(message: str) -> NoReturn:
    """End with a usage error."""
    raise click.UsageError(message, click.get_current_context(silent=True))
