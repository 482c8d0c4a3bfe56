"""One turn from a terminal: its events shown, its questions asked, ctrl-C passed on as an abort.

The first ctrl-C asks the guest to abort, and what the agent still says is shown; the second leaves at once, and the
turn goes on in the guest until its abort is done. The driver lease is held until the turn is accepted, not longer.
"""

import signal
from contextlib import suppress

import anyio
from anyio.abc import TaskGroup, TaskStatus

from host_client.cli.dialogue import ask, give, has_person
from host_client.cli.jsonlines import item_line
from host_client.cli.live import LiveTurn
from host_client.cli.screen import err, out
from host_client.cli.session import Guest, tell_json
from host_client.client import Client
from host_client.errors import HostError
from host_client.notices import Notice
from host_client.turn import Turn
from host_client.turning import TurnItem, TurnResult
from taskd.model.events import AgentQuestion, AgentQuestionClosed


class TurnView:
    """Follows one turn to its end.

    Attributes:
        interrupted: whether ctrl-C was pressed.
    """

    def __init__(self, guest: Guest, client: Client, turn: Turn, *, quiet: bool) -> None:
        self.interrupted = False
        self._as_json = guest.as_json
        self._client = client
        self._turn = turn
        self._live = LiveTurn(out(), err(), quiet=quiet or guest.as_json)
        self._asks = not guest.as_json and has_person()
        self._one_at_a_time = anyio.Lock()
        self._open: dict[str, anyio.CancelScope] = {}

    async def follow(self) -> TurnResult | None:
        """Show the turn; give its result, or None if it was left before its end.

        Raises:
            HostError: as `Turn.wait`.
        """
        result = None
        # From here on there is a turn that an interrupt can mean.
        await self._turn.start()
        async with anyio.create_task_group() as group:
            await group.start(self._heed_interrupts, group)
            group.start_soon(self._release)
            try:
                async for item in self._turn:
                    self._show(group, item)
                result = self._turn.result
            finally:
                if not self._as_json:
                    self._live.end(result)
            group.cancel_scope.cancel()
        if self._as_json and result is not None:
            tell_json({"result": result})
        return result

    def _show(self, group: TaskGroup, item: TurnItem | Notice) -> None:
        if self._as_json:
            tell_json(item_line(item, self._turn.state.task_id))
        elif self._asks and isinstance(item, AgentQuestion):
            self._live.end()
            group.start_soon(self._ask, item)
        elif isinstance(item, AgentQuestionClosed):
            if scope := self._open.get(item.request_id):
                scope.cancel()
                self._live.aside(f"\n{item.outcome} elsewhere" if item.outcome != "gone" else "", "dim")
        else:
            self._live.show(item)

    async def _ask(self, question: AgentQuestion) -> None:
        said = None
        with anyio.CancelScope() as self._open[question.request_id]:
            async with self._one_at_a_time:
                said = await ask(question)
        self._open.pop(question.request_id)
        if said is not None:
            await give(self._client, question, said)

    async def _heed_interrupts(self, group: TaskGroup, *, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGINT) as signals:
            task_status.started()
            async for _ in signals:
                if self.interrupted:
                    self._live.aside("\nleft; the turn goes on in the guest until its abort is done", "magenta")
                    group.cancel_scope.cancel()
                    return
                self.interrupted = True
                self._live.aside("\naborting; ctrl-C again leaves at once", "magenta")
                group.start_soon(self._abort)

    async def _release(self) -> None:
        """Give the lease back: `taskctl steer` or `switch` in another terminal need not wait for this turn's end."""
        if self._client.hello is not None:
            with suppress(HostError):
                await self._client.release_driver()

    async def _abort(self) -> None:
        with suppress(HostError):
            await self._client.abort(self._turn.state.task_id)
