"""What a channel can ask without changing a task: who is there, what is known, what was said."""

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec
import structlog
from anyio import to_thread
from anyio.abc import TaskGroup

from taskd import __version__
from taskd.core.views import state_view, task_view
from taskd.model import calls
from taskd.model.calls import Result
from taskd.model.errors import ERRORS, Code, TaskdError
from taskd.model.events import EVENTS
from taskd.model.ids import check_opaque_id
from taskd.model.limits import Limits
from taskd.model.records import Session as StoredSession
from taskd.services.clock import Clock
from taskd.services.hub import Hub
from taskd.services.minting import Minter
from taskd.services.supervisor import Answerer, Supervisor


class Asking(Protocol):
    """The channel that asks; `session.admitted` may change by it."""

    @property
    def session(self) -> Any:
        """Who speaks on it."""


class SessionReader(Protocol):
    """The part of the store that queries need; blocks."""

    def read_session(self, task_id: str, from_turn: int) -> StoredSession | None:
        """Give a task's session with the turns from that number on, or None when it has none yet."""


class Facts(Protocol):
    """What diag tells of the rest of the house."""

    def channels(self) -> Iterable[Mapping[str, Any]]:
        """Every channel."""

    def settings(self) -> Mapping[str, Any]:
        """The settings, without secrets."""

    def counters(self) -> Mapping[str, Any]:
        """Whatever is counted."""


class Queries:
    """Answers of the edge.

    Args:
        supervisor, hub, store, clock, minter, limits: where the answers come from.
        agents: the agents of the settings as hosts are told of them.
        check_token: whether a token is right.
        facts: the rest, for diag.
    """

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        hub: Hub,
        store: SessionReader,
        clock: Clock,
        minter: Minter,
        limits: Limits,
        agents: tuple[calls.AgentProfile, ...],
        check_token: Callable[[str], bool],
        facts: Facts,
    ) -> None:
        self._world = supervisor.machine.world
        self._machine = supervisor.machine
        self._hub = hub
        self._store = store
        self._clock = clock
        self._minter = minter
        self._limits = limits
        self._agents = agents
        self._check_token = check_token
        self._facts = facts
        self._started = clock.mono()
        self._generation = minter.mint("daemon")
        self._group: TaskGroup | None = None

    def start(self, group: TaskGroup) -> None:
        """Use this task group for answers that take time."""
        self._group = group

    def ask(self, query: str, caller: Asking, params: Any, answer: Answerer) -> None:
        """Answer one question, now or later."""
        result = getattr(self, query)(caller, params)
        if isinstance(result, Result):
            answer(result)
            return
        assert self._group is not None
        self._group.start_soon(self._later, result, answer)

    def initialize(self, caller: Asking, params: calls.Initialize) -> Result:
        """Say who is there."""
        if params.token is not None:
            self._admit(caller, params.token)
        if not caller.session.admitted:
            raise TaskdError(Code.UNAUTHENTICATED, "this channel needs a token; give it in initialize")
        if params.client_id is not None:
            caller.session.scope = f"client-{check_opaque_id(params.client_id, 'clientId')}"
        if params.nonce is not None:
            self._minter.mix(params.nonce)
        return calls.InitializeResult(
            protocol_version=calls.PROTOCOL_VERSION,
            server_info=calls.ServerInfo(name="taskd", version=__version__, pid=os.getpid()),
            capabilities=self._capabilities(),
            agents=self._agents,
            seq=self._hub.seq,
        )

    def authenticate(self, caller: Asking, params: calls.Authenticate) -> Result:
        """Take a token."""
        self._admit(caller, params.token)
        return calls.AuthenticateResult()

    def ping(self, caller: Asking, params: calls.Ping) -> Result:
        """Be alive."""
        return calls.PingResult(at=self._clock.wall())

    def get_state(self, caller: Asking, params: calls.GetState) -> Result:
        """Tell of all tasks."""
        return state_view(self._world, self._hub.seq)

    def get_task(self, caller: Asking, params: calls.GetTask) -> Result:
        """Tell of one task."""
        return task_view(self._world, self._world.find(params.task_id))

    async def get_session(self, caller: Asking, params: calls.GetSession) -> Result:
        """Read a task's conversation from the disk."""
        task = self._world.find(params.task_id)
        session = await to_thread.run_sync(self._store.read_session, task.id, max(params.from_turn, 1))
        return calls.SessionResult(
            task_id=task.id,
            agent=task.record.agent,
            turn_count=session.turn_count if session else 0,
            usage=session.usage if session else task.usage,
            provider=task.record.provider,
            model=task.record.model,
            thinking_level=task.record.thinking_level,
            saved_at=session.saved_at if session else None,
            turns=tuple(session.turns) if session else (),
        )

    def diag(self, caller: Asking, params: calls.Diag) -> Result:
        """Tell what helps to find a fault."""
        tasks = list(self._world.tasks.values())
        return calls.DiagResult(
            timestamp=self._clock.wall(),
            pid=os.getpid(),
            version=__version__,
            uptime_seconds=round(self._clock.mono() - self._started, 3),
            active_task_id=self._world.active,
            task_count=len(tasks),
            channels=tuple(dict(channel) for channel in self._facts.channels()),
            limits=msgspec.to_builtins(self._limits),
            settings=dict(self._facts.settings()),
            counters={"seq": self._hub.seq, "rememberedAnswers": len(self._machine.replays), **self._facts.counters()},
            tasks=tuple(msgspec.to_builtins(task_view(self._world, task)) for task in tasks),
            story=tuple(self._machine.story()),
        )

    async def _later(self, work: Awaitable[Result], answer: Answerer) -> None:
        try:
            result: Result | TaskdError = await work
        except TaskdError as error:
            result = error
        except Exception as error:
            structlog.get_logger("taskd.queries").exception("a query failed")
            result = TaskdError(Code.INTERNAL_ERROR, f"the query failed: {error}")
        with self._hub:
            answer(result)

    def _admit(self, caller: Asking, token: str) -> None:
        if not caller.session.admitted and not self._check_token(token):
            raise TaskdError(Code.UNAUTHENTICATED, "that token is not right")
        caller.session.admitted = True

    def _capabilities(self) -> dict[str, Any]:
        return {
            "events": sorted(EVENTS),
            "errors": sorted(code.value for code in ERRORS),
            "batch": True,
            "driverLease": True,
            "generation": self._generation,
        }
