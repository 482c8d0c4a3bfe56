"""A prompt's answer as it comes: an async iterator of what happens, which ends in a typed result.

    turn = client.prompt("t1", "What is in this folder?")
    async for item in turn:
        if isinstance(item, AgentOutput):
            print(item.chunk, end="")
    print(turn.result.usage)

or, for the result alone, `result = await client.prompt(...)`. The decisions are in `turning`; here they meet the
reader, the consumer and the guest. A consumer that stops listening stops nothing: the turn goes on in the guest, unless
it was asked for with `abort_if_left`.
"""

from collections.abc import AsyncIterator, Callable, Generator
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Protocol, Self

import anyio
import msgspec

from host_client.errors import HostError
from host_client.mailbox import Closed, Mailbox
from host_client.notices import Notice
from host_client.turning import TurnItem, TurnResult, TurnState
from taskd.model.calls import AbortResult, Prompt, PromptResult, SessionResult
from taskd.model.events import AgentOutput, Event, ToolOutput
from taskd.model.records import Turn as TurnRecord

ABORT_SECONDS: Final = 2.0
"""What leaving a turn may take to abort it."""

Seen = Callable[[PromptResult], None]


class Sessions(Protocol):
    """Where sessions are asked for."""

    async def get_session(self, task_id: str, from_turn: int = 1) -> SessionResult:
        """Give the completed turns from that number on."""


class TurnHost(Sessions, Protocol):
    """The part of the client that a turn needs."""

    async def begin_turn(self, turn: "Turn", params: Prompt, seen: Seen) -> None:
        """Send the prompt; `seen` is called with the answer in its place among the events."""

    async def abort(self, task_id: str | None = None) -> AbortResult:
        """End the running turn."""


class Turn:
    """One prompt and what came of it. Made by `Client.prompt`; nothing is sent before it is used.

    Args:
        host: the client.
        params: the prompt.
        state: what is known of the turn.
        abort_if_left: abort the turn in the guest when the consumer is cancelled, or leaves `async with` early.
    """

    def __init__(self, host: TurnHost, params: Prompt, state: TurnState, *, abort_if_left: bool = False) -> None:
        self.state = state
        self._host = host
        self._params = params
        self._abort_if_left = abort_if_left
        self._box: Mailbox[TurnItem | Notice] = Mailbox()
        self._asked = False
        self._began = anyio.Event()

    # For the consumer -----------------------------------------------------------------------------------------------

    async def start(self) -> Self:
        """Send the prompt, if that was not done yet, and return when the guest has accepted it.

        Raises:
            GuestError: the guest refused it, for example as `TASK_NOT_READY`.
            HostError: see `errors`.
        """
        if not self._asked:
            self._asked = True
            try:
                await self._host.begin_turn(self, self._params, self._accepted)
            except HostError as error:
                self.fail(error)
                raise
            except anyio.get_cancelled_exc_class():
                await self._left()
                raise
        return self

    async def wait(self) -> TurnResult:
        """Take all that comes, and give the result.

        Raises:
            TurnFailed: the turn ended with `task_error`.
            HostError: see `errors`.
        """
        async for _ in self:
            pass
        return self.result

    @property
    def result(self) -> TurnResult:
        """What the turn came to. Raises as `wait`; RuntimeError while the turn is under way."""
        if self.state.error is not None:
            raise self.state.error
        if self.state.result is None:
            raise RuntimeError("the turn is under way; iterate it to its end, or await it")
        return self.state.result

    @property
    def turn_id(self) -> str | None:
        """The guest's id of the turn, once it was accepted."""
        return self.state.turn_id

    @property
    def prompt_id(self) -> str:
        """This host's id of the prompt."""
        return self.state.prompt_id

    async def text(self) -> AsyncIterator[str]:
        """Iterate over the pieces of the agent's answer alone, without its thinking."""
        async for item in self:
            if isinstance(item, AgentOutput) and item.kind == "text":
                yield item.chunk

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TurnItem | Notice:
        await self.start()
        try:
            return await self._box.get()
        except Closed:
            await self._complete()
            raise StopAsyncIteration from None
        except anyio.get_cancelled_exc_class():
            await self._left()
            raise

    def __await__(self) -> Generator[Any, Any, TurnResult]:
        return self.wait().__await__()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._left()

    # For the reader -------------------------------------------------------------------------------------------------

    def hear(self, task_id: str | None, event: Event) -> bool:
        """Take an event of any task; true when the turn is over."""
        item = self.state.hear(task_id, event)
        if item is None:
            self._settle()
            return self.state.finished
        if isinstance(item, AgentOutput | ToolOutput):
            self._box.put(item, len(item.chunk) + 256)
        else:
            self._box.put(item, 512)
        return False

    def notify(self, notice: Notice) -> None:
        """Take a notice of the client."""
        self._box.put(notice)

    def recover(self, record: TurnRecord) -> None:
        """Take the turn's record: it ended while there was no connection."""
        self.state.recover(record)
        self._settle()

    def fail(self, error: HostError) -> None:
        """End without a result."""
        self.state.fail(error)
        self._settle()

    def _accepted(self, answer: PromptResult) -> None:
        self.state.accept(answer)
        self._settle()

    def _settle(self) -> None:
        if self.state.finished:
            self._box.close(self.state.error)
        if self.state.turn_id is not None or self.state.finished:
            self._began.set()

    # Ends -----------------------------------------------------------------------------------------------------------

    async def _complete(self) -> None:
        """Fetch the whole text from the session, if some of it may not have been heard."""
        result = self.state.result
        if result is None or result.complete or not self.state.gap:
            return
        with suppress(HostError):
            record = await find_turn(self._host, result.task_id, result.turn_id, result.turn_number)
            if record is not None:
                self.state.complete(record)

    async def _left(self) -> None:
        if not self._abort_if_left or not self._asked or self.state.finished:
            return
        with anyio.move_on_after(ABORT_SECONDS, shield=True), suppress(HostError):
            # The prompt may be on its way; before it has its turn, an abort would hit another's.
            await self._began.wait()
            # RACE: the turn may end before the abort arrives, and another begin; the guest then ends that one.
            if not self.state.finished:
                await self._host.abort(self.state.task_id)


async def find_turn(guest: Sessions, task_id: str, turn_id: str, from_turn: int) -> TurnRecord | None:
    """Look for a turn in the session, from that number on."""
    session = await guest.get_session(task_id, max(from_turn, 1))
    for raw in session.turns:
        record = msgspec.json.decode(raw, type=TurnRecord)
        if record.turn_id == turn_id:
            return record
    return None
