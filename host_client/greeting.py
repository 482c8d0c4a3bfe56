"""The first words on every connection: who we are, our token, the guest's state, and the lease that was ours.

They are urgent calls: they go out before the connection is open to others, and belong to it alone. The caller has the
time limit around them. Whether the daemon is the one that was there before decides which calls may be sent again.
"""

import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from host_client import methods
from host_client.errors import GuestError
from host_client.lease import Lease
from host_client.methods import Method, P, R
from host_client.rpc import Rpc
from taskd.model import calls
from taskd.model.calls import DriverResult, Initialize, InitializeResult, StateResult


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a client behaves; see `connecting.connect` for what each means."""

    client_id: str
    dialect: str = "jsonrpc"
    client_info: dict[str, Any] = {}
    find_token: Callable[[], str | None] = lambda: None
    """Asked at every greeting: a daemon that comes back may have another token."""
    timeout: float = 10.0
    reconnect: float | None = None
    heartbeat: float | None = None
    mirror: bool = True


class Greeter:
    """Greets the guest for one client, on one connection after another.

    Args:
        heard: gives the number of the last event heard, 0 for none.
        saw: takes the guest's state, in its place among the events.

    Attributes:
        hello: what the guest said about itself; None in P0.
    """

    def __init__(
        self,
        options: Options,
        rpc: Rpc,
        lease: Lease,
        heard: Callable[[], int],
        saw: Callable[[StateResult], None],
    ) -> None:
        self.hello: InitializeResult | None = None
        self._options = options
        self._rpc = rpc
        self._lease = lease
        self._heard = heard
        self._saw = saw

    async def greet(self) -> bool:
        """Say the first words; give whether it is the daemon that was there before.

        Raises:
            HostError: the guest does not want us, or says what no guest says.
        """
        native = self._options.dialect == "jsonrpc"
        same_daemon = await self._initialize() if native else await self._authenticate()
        if self._options.mirror:
            await self._ask(methods.GET_STATE, calls.GetState(), self._saw)
        elif not native:
            await self._ask(methods.PING, calls.Ping())
        return same_daemon

    def introduction(self) -> Initialize:
        """Give the params of `initialize`, with fresh entropy for ids that the guest will mint."""
        return Initialize(
            client_info=self._options.client_info,
            client_id=self._options.client_id,
            token=self._options.find_token(),
            nonce=secrets.token_hex(16),
        )

    def met(self, hello: InitializeResult) -> None:
        """Take what the guest said about itself."""
        self.hello = hello

    def note_lease(self, result: DriverResult) -> None:
        """Take the answer to a question for the lease."""
        if result.driver:
            self._lease.taken()
        else:
            self._lease.released()

    async def _initialize(self) -> bool:
        known, heard = self.hello, self._heard()
        hello = await self._ask(methods.INITIALIZE, self.introduction(), self.met)
        same_daemon = known is not None and _is_same(known, hello, heard)
        await self._drive_again(same_daemon)
        return same_daemon

    async def _authenticate(self) -> bool:
        token = self._options.find_token()
        if token is not None:
            await self._ask(methods.AUTHENTICATE, calls.Authenticate(token=token))
        # P0 does not say which daemon it is, so its memory of request ids is not relied on.
        return False

    async def _drive_again(self, same_daemon: bool) -> None:
        """Take the lease again if it was ours; by force only from our own old channel."""
        held, channel = self._lease.ours, self._lease.channel
        self._lease.reconnected()
        if not held:
            return
        try:
            await self._ask(methods.TAKE_DRIVER, calls.TakeDriver(), self.note_lease)
        except GuestError as error:
            self._lease.released()
            if same_daemon and channel is not None and error.details.get("driver") == channel:
                await self._ask(methods.TAKE_DRIVER, calls.TakeDriver(force=True), self.note_lease)

    async def _ask(self, method: Method[P, R], params: P, seen: Callable[[R], None] | None = None) -> R:
        return await self._rpc.call(method, params, seen=seen, urgent=True)


def _is_same(known: InitializeResult, hello: InitializeResult, heard: int) -> bool:
    # A process id alone comes back after a restart in a small guest; the count of events starts anew there.
    generations = {str(one.capabilities.get("generation")) for one in (known, hello)}
    return known.server_info.pid == hello.server_info.pid and hello.seq >= heard and len(generations) == 1
