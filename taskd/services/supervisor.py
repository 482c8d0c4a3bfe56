"""The junction: stimuli in, the machine's effects out, carried out in their order.

`submit` never blocks and never raises. What takes time (a spawn, a write, a shell command) runs in the task group and
ends by submitting another stimulus. Disk work of one task is done one piece after the other, in the order it was
wanted.
"""

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import anyio
import structlog
from anyio import to_thread
from anyio.abc import TaskGroup

from taskd.agents.base import AgentProtocol
from taskd.core import effects as fx
from taskd.core.machine import Machine
from taskd.core.stimuli import (
    AgentSaid,
    Asked,
    CallFinished,
    Loaded,
    OpenFailed,
    Saved,
    SaveFailed,
    Stimulus,
    Timer,
    TimerFired,
)
from taskd.model.agent import Said
from taskd.model.calls import Result
from taskd.model.errors import Code, TaskdError
from taskd.model.ids import CallId, TaskId
from taskd.model.records import Known, Opened, TaskRecord, Turn
from taskd.services.bash import Shell
from taskd.services.children import Children
from taskd.services.clock import Clock
from taskd.services.hub import Hub
from taskd.services.timers import Timers


class Store(Protocol):
    """The disk, as the supervisor needs it. All methods block and are called in worker threads."""

    def load(self) -> list[Known]:
        """Find every task on disk."""

    def prepare(self, record: TaskRecord, protocol: AgentProtocol, cwd: str, now: str, session_id: str) -> Opened:
        """Make a task's folder and native session ready."""

    def save_turn(self, record: TaskRecord, turn: Turn) -> int:
        """Make a turn durable; give the number of turns."""

    def update_record(self, record: TaskRecord) -> None:
        """Write a task's record."""


Answerer = Callable[[Result | TaskdError], None]


class Supervisor:
    """The machine and its performers.

    Args:
        machine: decides.
        hub: tells hosts.
        store: the disk.
        children: the agents.
        shell: runs system_bash.
        clock: the moment of every step.
        resolve_cwd: gives a task's working folder, or raises `TaskdError`; called in a worker thread.
        mint: makes ids.
    """

    def __init__(
        self,
        *,
        machine: Machine,
        hub: Hub,
        store: Store,
        children: Children,
        shell: Shell,
        clock: Clock,
        resolve_cwd: Callable[[TaskRecord], str],
        mint: Callable[[str], str],
    ) -> None:
        self.machine = machine
        self._hub = hub
        self._store = store
        self._children = children
        self._shell = shell
        self._clock = clock
        self._resolve_cwd = resolve_cwd
        self._mint = mint
        self._timers = Timers(clock, lambda timer: self.submit(TimerFired(timer)))
        self._log = structlog.get_logger("taskd.supervisor")
        self._inbox: deque[Stimulus] = deque()
        self._stepping = False
        self._answerers: dict[CallId, Answerer] = {}
        self._calls = 0
        self._disk: dict[str, anyio.Lock] = {}
        self._quit = anyio.Event()
        self._group: TaskGroup | None = None
        self._early: list[tuple[Callable[[Any], Coroutine[Any, Any, None]], fx.Effect]] = []
        """Work that was wanted before `run` had begun: a host may have been waiting at the door."""
        self._performers: dict[type[fx.Effect], Callable[[Any], None]] = {
            fx.Publish: self._publish,
            fx.Reply: lambda effect: self._answer(effect.call, effect.result),
            fx.Refuse: lambda effect: self._answer(effect.call, effect.error),
            fx.Tell: lambda effect: children.tell(self, effect.task, effect.incarnation, effect.command),
            fx.StopChild: lambda effect: children.stop(effect.task, effect.incarnation),
            fx.SetTimer: lambda effect: self._timers.set(effect.timer, effect.seconds),
            fx.ClearTimer: lambda effect: self._timers.clear(effect.timer),
            fx.Open: self._begin_open,
            fx.Save: lambda effect: self._start(self._save, effect),
            fx.SaveRecord: lambda effect: self._start(self._save_record, effect),
            fx.RunBash: lambda effect: self._start(self._run_bash, effect),
            fx.Log: self._write_log,
            fx.Quit: lambda effect: self._quit.set(),
        }

    async def load(self) -> int:
        """Know every task on disk again; give their number."""
        known = await to_thread.run_sync(self._store.load)
        self.submit(Loaded(tuple(known)))
        return len(known)

    async def run(self) -> None:
        """Perform until the machine says quit; whatever still runs then is ended."""
        async with anyio.create_task_group() as group:
            self._group = group
            for work, effect in self._early:
                self._start(work, effect)
            self._early.clear()
            group.start_soon(self._timers.run)
            await self._quit.wait()
            group.cancel_scope.cancel()

    def expect(self, answerer: Answerer) -> CallId:
        """Make a call id whose answer goes to `answerer`, once."""
        self._calls += 1
        call = CallId(self._calls)
        self._answerers[call] = answerer
        return call

    def submit(self, stimulus: Stimulus) -> None:
        """Let the machine decide, and perform. A stimulus that an effect causes at once has its turn afterwards."""
        self._inbox.append(stimulus)
        if not self._stepping:
            self._empty_inbox()

    def heard(self, task: TaskId, incarnation: int, said: list[Said], raw: list[bytes]) -> None:
        """An agent said this, in one burst. Raw lines go out before the events they cause."""
        with self._hub:
            if raw:
                self._hub.repeat_raw(raw)
            self._inbox.extend(AgentSaid(task, incarnation, one) for one in said)
            if not self._stepping:
                self._empty_inbox()

    def wants_raw(self, task: TaskId) -> bool:
        """Say whether a host wants this task's raw lines: P0 hosts are told those of the active task."""
        return self.machine.world.active == task and self._hub.wants_raw

    def _empty_inbox(self) -> None:
        self._stepping = True
        try:
            with self._hub:
                while self._inbox:
                    self._step(self._inbox.popleft())
        finally:
            self._stepping = False

    def _step(self, stimulus: Stimulus) -> None:
        try:
            effects = self.machine.step(stimulus, self._clock.mono(), self._clock.wall())
        except Exception as error:
            self._log.exception("the machine failed", stimulus=repr(stimulus)[:500])
            if isinstance(stimulus, Asked):
                self._answer(stimulus.origin.call, TaskdError(Code.INTERNAL_ERROR, f"the call failed: {error}"))
            return
        for effect in effects:
            try:
                self._performers[type(effect)](effect)
            except Exception:
                self._log.exception("an effect failed", effect=repr(effect)[:500])

    def _publish(self, effect: fx.Publish) -> None:
        self._hub.publish(effect.task, effect.event)

    def _answer(self, call: CallId, answer: Result | TaskdError) -> None:
        answerer = self._answerers.pop(call, None)
        if answerer is not None:
            answerer(answer)

    def _write_log(self, effect: fx.Log) -> None:
        getattr(self._log, effect.level)(effect.event, **effect.fields)

    def _start(self, work: Callable[[Any], Coroutine[Any, Any, None]], effect: fx.Effect) -> None:
        if self._group is None:
            self._early.append((work, effect))
        else:
            self._group.start_soon(work, effect)

    def _begin_open(self, effect: fx.Open) -> None:
        self._children.expect(effect)
        self._start(self._open, effect)

    async def _open(self, effect: fx.Open) -> None:
        try:
            opened = await self._prepare(effect)
            await self._children.run(self, effect, opened)
        except TaskdError as error:
            self.submit(OpenFailed(effect.task, effect.incarnation, error))
        except Exception as error:
            self._log.exception("opening failed", task=effect.task)
            fault = TaskdError(Code.INTERNAL_ERROR, f"opening task {effect.task} failed: {error}")
            self.submit(OpenFailed(effect.task, effect.incarnation, fault))
        finally:
            self._children.forget(effect)

    async def _prepare(self, effect: fx.Open) -> Opened:
        protocol = self._children.protocol(effect.record)
        now, session_id = self._clock.wall(), self._mint("session")

        def prepare() -> Opened:
            cwd = self._resolve_cwd(effect.record)
            return self._store.prepare(effect.record, protocol, cwd, now, session_id)

        async with self._disk_of(effect.task):
            return await to_thread.run_sync(prepare)

    async def _save(self, effect: fx.Save) -> None:
        record, turn = effect.record, effect.turn
        task = TaskId(record.task_id)
        try:
            with anyio.CancelScope(shield=True):
                async with self._disk_of(task):
                    began = self._clock.mono()
                    count = await to_thread.run_sync(self._store.save_turn, record, turn)
                    took = self._clock.mono() - began
        except TaskdError as error:
            self._log.error("a turn could not be saved", task=task, turn=turn.turn_id, error=error.message)
            self.submit(SaveFailed(task, turn.turn_id, error))
        except Exception as error:
            self._log.exception("a turn could not be saved", task=task, turn=turn.turn_id)
            fault = TaskdError(Code.SESSION_SAVE_FAILED, f"saving the turn failed: {error}")
            self.submit(SaveFailed(task, turn.turn_id, fault))
        else:
            self.submit(Saved(task, turn.turn_id, count, round(took * 1000, 3)))

    async def _save_record(self, effect: fx.SaveRecord) -> None:
        try:
            async with self._disk_of(TaskId(effect.record.task_id)):
                await to_thread.run_sync(self._store.update_record, effect.record)
        except Exception as error:
            self._log.error("a task's record could not be written", task=effect.record.task_id, error=str(error))

    async def _run_bash(self, effect: fx.RunBash) -> None:
        try:
            result = await self._shell.run(effect.params, effect.base)
        except TaskdError as error:
            self.submit(CallFinished(effect.call, error=error))
        except Exception as error:
            self._log.exception("system_bash failed")
            self.submit(CallFinished(effect.call, error=TaskdError(Code.INTERNAL_ERROR, str(error))))
        else:
            self.submit(CallFinished(effect.call, result))

    def _disk_of(self, task: TaskId) -> anyio.Lock:
        return self._disk.setdefault(task, anyio.Lock())


__all__ = ["Answerer", "Store", "Supervisor", "Timer"]
