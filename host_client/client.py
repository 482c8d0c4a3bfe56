"""One host's end of one guest: typed calls, events, switches, turns, and a mirror of the guest's state.

    async with connect("unix:/run/taskd/taskd.sock", reconnect=60) as client:
        await client.open("t1")
        await client.switch("t1")
        print((await client.prompt("t1", "Hello")).text)

Everything that the guest says passes `_hear`, in order and at once: the mirror first, then switches and turns, then
the subscriptions. None of them can make it wait. The decisions are in `switching`, `turning` and `mirror`; the
connection is in `link`, its first words in `greeting`; the calls are in `rpc`.
"""

import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from os import PathLike
from typing import Final

import anyio
import msgspec
from anyio.abc import TaskGroup

from host_client import methods
from host_client.calls import Calls
from host_client.conversation import Conversation, ConversationCache
from host_client.errors import CallTimeout, ConnectionLost, GuestError, HostError
from host_client.greeting import Greeter, Options
from host_client.lease import Lease
from host_client.link import Dialer, Link
from host_client.listeners import Listeners
from host_client.mailbox import MAX_BYTES, MAX_ITEMS, Mailbox
from host_client.mending import mend
from host_client.methods import Method, P, R
from host_client.mirror import Mirror
from host_client.notices import GuestEvent, Notice, Reconnected, Refreshed
from host_client.rpc import Rpc
from host_client.subscription import Subscription
from host_client.switching import Switch, Switched
from host_client.turn import Seen, Turn
from host_client.turning import Phase, TurnState
from taskd.model import calls
from taskd.model.agent import Image
from taskd.model.calls import DriverResult, InitializeResult, StateResult, TaskView
from taskd.model.errors import Code
from taskd.model.events import ChannelClosing, DriverChanged
from taskd.model.states import TaskState
from taskd.wire.host import Told
from taskd.wire.registry import TONGUES

SWITCH_SECONDS: Final = 5.0
"""The hard deadline of a switch; the guest gives its agent 4 s for a sign of life (limit switch_probe_seconds)."""

RECONNECT_SECONDS: Final = 30.0
"""How long `Client.reconnect` tries; a guest that boots needs some 10 s."""

MIRROR_PAUSE_SECONDS: Final = 0.1
"""Between two askings for the guest's state, whatever happens."""

_OPENABLE: Final = frozenset({TaskState.MISSING, TaskState.STOPPED, TaskState.ERRORED})


class _Waiting:
    """A switch, and the one who waits for its end."""

    def __init__(self, switch: Switch) -> None:
        self.switch = switch
        self.done = anyio.Event()

    def step(self, step: Callable[[], None]) -> None:
        step()
        if self.switch.finished:
            self.done.set()


class Client(Calls):
    """A connected host. Made by `connect`.

    Attributes:
        mirror: the guest's state, folded from events; read it at any time, do not change it.
    """

    def __init__(
        self, tasks: TaskGroup, address: str, dialer: Dialer, options: Options, cache: ConversationCache
    ) -> None:
        self.mirror = Mirror()
        self._options = options
        self._tasks = tasks
        self._cache = cache
        self._switches: set[_Waiting] = set()
        self._turns: Listeners[Turn] = Listeners()
        self._subscriptions: Listeners[Subscription] = Listeners()
        self._doubt = anyio.Event()
        self._lease = Lease()
        self._last_prompt = 0
        self._prefix = secrets.token_hex(8)
        self._rpc = Rpc(self._prefix, TONGUES[options.dialect](), self._hear, self._hear_raw)
        self._greeter = Greeter(options, self._rpc, self._lease, lambda: self.mirror.seq or 0, self.mirror.reset)
        self._link = Link(
            tasks=tasks,
            rpc=self._rpc,
            address=address,
            dialer=dialer,
            greet=self._greeter.greet,
            on_up=self._came_up,
            on_down=self._went_down,
            timeout=options.timeout,
            automatic=options.reconnect,
        )

    # The connection -------------------------------------------------------------------------------------------------

    @property
    def hello(self) -> InitializeResult | None:
        """What the guest said about itself when the connection was made; None in P0."""
        return self._greeter.hello

    @property
    def connected(self) -> bool:
        """Whether there is a connection that calls can go out on."""
        return self._link.up

    @property
    def client_id(self) -> str:
        """Who we are to the guest; it keeps its memory of our requests by this."""
        return self._options.client_id

    @property
    def dropped(self) -> int:
        """How many answers came too late, and lines were no message."""
        return self._rpc.dropped

    @property
    def drives(self) -> bool:
        """Whether this client holds the driver lease, as far as it has heard."""
        return self._lease.ours

    async def reconnect(self, deadline: float = RECONNECT_SECONDS) -> None:
        """Make a new connection, trying for `deadline` seconds, whether or not there is one now.

        Calls that the guest remembers by their id are sent again; others fail with `ConnectionLost(maybe_done=True)`.
        The mirror is asked for anew, and subscriptions get `Reconnected`.

        Raises:
            DialFailed: there is none; calls, turns and subscriptions have failed then, and it can be tried again.
        """
        await self._link.reconnect(deadline)

    async def initialize(self) -> InitializeResult:
        """Say again who is there, with fresh entropy; `connect` and every reconnect do it already."""
        return await self.call(methods.INITIALIZE, self._greeter.introduction(), seen=self._greeter.met)

    async def call(
        self, method: Method[P, R], params: P, timeout: float | None = None, *, seen: Callable[[R], None] | None = None
    ) -> R:
        """Call a method of the table in `methods`; the typed methods of this class do it for you."""
        return await self._call(method, params, method.timeout if timeout is None else timeout, seen)

    async def start(self, wait: float) -> None:
        """Connect, and begin what goes on in the background. Called once, by `connect`."""
        await self._link.establish(wait)
        if self._options.mirror:
            self._tasks.start_soon(self._keep_mirror)
        if self._options.heartbeat is not None:
            self._tasks.start_soon(self._beat, self._options.heartbeat)

    async def aclose(self) -> None:
        """Close for good: what still waits fails with `ConnectionLost`. `connect` does it at the end of its block."""
        with anyio.CancelScope(shield=True):
            await self._link.close()
        self._went_down(ConnectionLost("the client is closed"), closed=True)

    # Events ---------------------------------------------------------------------------------------------------------

    def events(
        self,
        task_id: str | None = None,
        *,
        raw: bool = False,
        max_items: int = MAX_ITEMS,
        max_bytes: int = MAX_BYTES,
    ) -> Subscription:
        """Listen to the guest from now on: an async iterator of `GuestEvent`, `Lagged`, `Reconnected`, `Refreshed`.

        Args:
            task_id: this task's events only, and those that belong to no task.
            raw: in P0, also the active agent's own lines, as `RawLine`.
            max_items: how many items may wait for a slow consumer before the oldest are dropped, which `Lagged` tells.
            max_bytes: the same in bytes, roughly.
        """
        subscription = Subscription(task_id, raw=raw, box=Mailbox(max_items, max_bytes))
        self._subscriptions.add(subscription)
        return subscription

    async def get_state(self) -> StateResult:
        """Give all tasks as they are now, and the active one; the mirror takes it too."""
        return await self.call(methods.GET_STATE, calls.GetState(), seen=self.mirror.reset)

    async def fresh_mirror(self) -> Mirror:
        """Give the mirror when it is true: at once if it is, else after asking for the state."""
        if self.mirror.stale is not None:
            await self.get_state()
        return self.mirror

    # Switches and turns ---------------------------------------------------------------------------------------------

    async def switch(self, task_id: str, timeout: float = SWITCH_SECONDS) -> Switched:
        """Make a ready or idle task the active one, and return when its agent can take a prompt.

        Args:
            timeout: the hard deadline in seconds, from the call to `task_ready`.

        Raises:
            SwitchTimeout: it is not ready at the deadline. The client stays usable.
            SwitchSuperseded: another switch began meanwhile.
            SwitchFailed: the task ended on the way.
            GuestError: the guest refused it, for example as `TASK_NOT_FOUND`.
        """
        began = anyio.current_time()
        waiting = _Waiting(Switch(task_id, timeout, self.mirror.incarnation(task_id)))
        self._switches.add(waiting)
        try:
            with anyio.move_on_after(timeout):
                await self._ask_switch(waiting)
                await waiting.done.wait()
            waiting.switch.expire()
            return waiting.switch.outcome(anyio.current_time() - began)
        finally:
            self._switches.discard(waiting)

    def prompt(
        self,
        task_id: str | None,
        message: str,
        *,
        images: tuple[Image, ...] = (),
        prompt_id: str | None = None,
        abort_if_left: bool = False,
    ) -> Turn:
        """Start a turn in the active task, which must be `task_id` unless that is None.

        Nothing is sent before the turn is iterated, awaited, entered or started. Iterating gives what happens as
        structs of `taskd.model.events`, and raises `TurnFailed` if the turn ends with `task_error`; `result` has the
        rest.

        Args:
            prompt_id: an id of your own; the same id with the same message is one turn, however often it is sent.
            abort_if_left: abort the turn in the guest when the consumer is cancelled or leaves `async with` early;
                otherwise the turn goes on there.
        """
        self._last_prompt += 1
        prompt_id = prompt_id or f"{self._prefix}-p{self._last_prompt}"
        params = calls.Prompt(message=message, prompt_id=prompt_id, images=images, task_id=task_id)
        return Turn(self, params, TurnState(prompt_id, task_id), abort_if_left=abort_if_left)

    async def activate(
        self, task_id: str, *, agent: str | None = None, working_folder: str | PathLike[str] | None = None
    ) -> TaskView:
        """Have a task active, whatever its state: open it if it has no agent, and switch to it.

        Raises:
            HostError: as `open` and `switch`.
        """
        try:
            state = (await self.get_task(task_id)).state
        except GuestError as error:
            if error.code != Code.TASK_NOT_FOUND:
                raise
            state = TaskState.MISSING
        if state in _OPENABLE:
            await self.open(task_id, agent=agent, working_folder=working_folder)
        await self.switch(task_id)
        return await self.get_task(task_id)

    async def conversation(self, task_id: str) -> Conversation:
        """Give the task's completed turns: the cached ones, and from the guest those that are new or have changed."""
        return await self._cache.refresh(self, task_id)

    async def begin_turn(self, turn: Turn, params: calls.Prompt, seen: Seen) -> None:
        """Send a turn's prompt. For `Turn`, which is how it is used."""
        if params.task_id is not None:
            turn.state.rebase(self.mirror.incarnation(params.task_id))
        self._turns.add(turn)
        generation = self._link.generation
        await self.call(methods.PROMPT, params, seen=seen)
        lost = self._link.generation != generation
        if lost or not turn.state.begun:
            # The answer may be a remembered one, and what followed the first one was not told to us.
            await mend(self, turn, lost=lost)

    # What the guest says --------------------------------------------------------------------------------------------

    def _hear(self, told: Told) -> None:
        try:
            event = told.event()
        except msgspec.DecodeError:
            event = None
            self._rpc.dropped += 1
        self.mirror.fold(told.task_id, event, seq=told.seq, at=told.at)
        if self.mirror.stale is not None:
            self._doubt.set()
        if event is not None:
            if isinstance(event, DriverChanged):
                self._lease.hear(event)
            elif isinstance(event, ChannelClosing):
                self._link.expect_end(event.reason)
            for waiting in self._switches:
                waiting.step(partial(waiting.switch.hear, told.task_id, event))
            for turn in self._turns:
                if turn.hear(told.task_id, event):
                    self._turns.discard(turn)
        # What comes before the greeting is done is in the state that it asks for; `Reconnected` stands before the rest.
        if self._subscriptions and self._link.up:
            item = GuestEvent(told.name, told.seq, told.at, told.task_id, event, told)
            for subscription in self._subscriptions:
                subscription.offer(item)

    def _hear_raw(self, line: bytes) -> None:
        for subscription in self._subscriptions:
            subscription.offer_raw(line)

    def _notify(self, notice: Notice) -> None:
        for subscription in self._subscriptions:
            subscription.notify(notice)

    # The connection comes and goes ----------------------------------------------------------------------------------

    def _came_up(self, same_daemon: bool, again: bool) -> None:
        if not again:
            return
        notice = Reconnected(same_daemon=same_daemon)
        if self._switches:
            self._tasks.start_soon(self._look_for_switches)
        for turn in self._turns:
            turn.notify(notice)
            if turn.state.phase is Phase.RUNNING:
                self._tasks.start_soon(mend, self, turn)
        self._notify(notice)

    def _went_down(self, error: ConnectionLost, *, closed: bool = False) -> None:
        for waiting in self._switches:
            waiting.step(partial(waiting.switch.lose, error))
        for turn in self._turns:
            turn.fail(ConnectionLost(error.reason, maybe_done=turn.state.phase is Phase.RUNNING))
        self._turns.clear()
        for subscription in self._subscriptions:
            subscription.end(None if closed else error)

    # In the background ----------------------------------------------------------------------------------------------

    async def _call(
        self, method: Method[P, R], params: P, timeout: float | None, seen: Callable[[R], None] | None
    ) -> R:
        generation = self._link.generation

        def settle(result: R) -> None:
            # A remembered answer on a new connection says nothing about what is so now.
            if method.drives and self._link.generation == generation:
                self._lease.changed()
                self.mirror.learn(result)
            elif isinstance(result, DriverResult):
                self._greeter.note_lease(result)
            if seen is not None:
                seen(result)

        return await self._rpc.call(method, params, timeout, seen=settle)

    async def _ask_switch(self, waiting: _Waiting) -> None:
        switch = waiting.switch
        params = calls.SwitchTask(task_id=switch.task_id)
        try:
            generation = self._link.generation
            await self._call(methods.SWITCH, params, None, lambda _: switch.acknowledge())
            if self._link.generation != generation:
                # The acknowledgement may be a remembered one, and what followed the first one was told to nobody.
                state = await self.get_state()
                waiting.step(partial(switch.see, state))
        except HostError as error:
            waiting.step(partial(switch.refuse, error))

    async def _look_for_switches(self) -> None:
        """Find switches that were done, or cannot be done any more, while there was no connection."""
        with suppress(HostError):
            state = await self.get_state()
            for waiting in self._switches:
                waiting.step(partial(waiting.switch.see, state))

    async def _keep_mirror(self) -> None:
        while True:
            await self._doubt.wait()
            self._doubt = anyio.Event()
            reason = self.mirror.stale
            if reason is not None and self._link.up:
                with suppress(HostError):
                    await self.get_state()
                    self._notify(Refreshed(reason))
                if self.mirror.stale is not None:
                    self._doubt.set()
            await anyio.sleep(MIRROR_PAUSE_SECONDS)

    async def _beat(self, seconds: float) -> None:
        while True:
            await anyio.sleep(seconds)
            try:
                await self.ping(timeout=seconds)
            except CallTimeout:
                self._link.break_off(f"the guest gave no sign of life within {seconds:g} s")
            except HostError:
                continue
