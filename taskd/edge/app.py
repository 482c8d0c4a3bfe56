"""The only place where everything is put together, and the daemon's life from its lock to its last word."""

import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import anyio
import structlog
from anyio import to_thread
from anyio.abc import TaskGroup

from taskd.agents.base import AgentProfile
from taskd.agents.registry import protocol
from taskd.core.machine import Machine
from taskd.core.stimuli import ShutdownAsked
from taskd.disk.lock import StateLock
from taskd.edge.connection import Connection
from taskd.edge.guard import (
    Verdict,
    admit,
    load_token,
    needs_token,
    policy_of,
    token_matches,
    warnings_for,
)
from taskd.edge.methods import Methods, Session
from taskd.edge.notify import Notifier, Watchdog, watchdog_interval
from taskd.edge.queries import Queries
from taskd.edge.settings import Settings, explain
from taskd.edge.transports import unix
from taskd.edge.transports.door import Bound
from taskd.edge.transports.link import Link
from taskd.edge.transports.listener import Listener, SocketListener
from taskd.model import calls
from taskd.model.errors import Code
from taskd.model.ids import ChannelId
from taskd.model.records import TaskRecord
from taskd.services.bash import Shell
from taskd.services.children import Children
from taskd.services.clock import SystemClock
from taskd.services.environment import agent_environment, passed_names
from taskd.services.hub import Hub
from taskd.services.minting import Minter
from taskd.services.store import Store
from taskd.services.supervisor import Supervisor
from taskd.services.workspace import resolve_cwd


class App:
    """One daemon.

    Args:
        settings: what it was told.
        environ: the daemon's environment, of which agents get what the settings allow.
        uid: who it is.
        notifier: tells the service manager.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str], uid: int, notifier: Notifier) -> None:
        self._settings = settings
        self._environ = environ
        self._uid = uid
        self._notifier = notifier
        self._log = structlog.get_logger("taskd.app")
        self._limits = settings.limits
        self._clock = SystemClock()
        self._minter = Minter()
        self._hub = Hub(self._clock)
        os.makedirs(settings.state_dir, mode=0o700, exist_ok=True)
        self._store = Store(settings.state_dir, self._limits, fsync=settings.fsync)
        self._machine = self._make_machine()
        self._supervisor = self._make_supervisor()
        self._token: str | None = None
        self._policy = policy_of(settings, own_uid=uid, has_token=False)
        self._queries = self._make_queries()
        self._methods = Methods(self._supervisor, self._queries)
        self._connections: dict[ChannelId, Connection] = {}
        self._channels = 0

    async def run(self, bound: Sequence[Bound], stdio: Link | None = None) -> None:
        """Serve until told to stop; then everything is in order.

        Args:
            bound: listening sockets, owned from here on.
            stdio: the one channel of `--stdio`; its end ends the daemon.

        Raises:
            TaskdError: the state folder is in use or cannot be used.
        """
        with ExitStack() as stack:
            stack.enter_context(StateLock.take(self._settings.state_dir, os.getpid()))
            self._admit_hosts(bound)
            listeners = [SocketListener(one) for one in bound]
            for listener in listeners:
                stack.callback(listener.close)
            await self._serve(listeners, stdio)
        self._log.info("stopped")

    async def _serve(self, listeners: Sequence[Listener], stdio: Link | None) -> None:
        to_thread.current_default_thread_limiter().total_tokens = self._limits.worker_threads
        known = await self._supervisor.load()
        async with anyio.create_task_group() as channels:
            self._queries.start(channels)
            async with anyio.create_task_group() as doors:
                doors.start_soon(self._watch_signals)
                self._start_watchdog(doors)
                for listener in listeners:
                    doors.start_soon(self._accept, listener, channels)
                if stdio is not None:
                    channels.start_soon(self._serve_stdio, stdio)
                await self._announce(listeners, known)
                await self._supervisor.run()
                await self._notifier.stopping("saying goodbye")
                doors.cancel_scope.cancel()
            channels.cancel_scope.deadline = anyio.current_time() + 2 * self._limits.close_flush_seconds
            for connection in list(self._connections.values()):
                connection.close("the daemon is stopping", Code.SHUTTING_DOWN)

    def _admit_hosts(self, bound: Sequence[Bound]) -> None:
        addresses = [one.address for one in bound]
        openly = self._settings.allow_unauthenticated
        if needs_token(addresses, allow_unauthenticated=openly):
            self._token = load_token(self._settings.token_file, uid=self._uid)
        self._policy = self._policy._replace(has_token=self._token is not None)
        if self._policy.allowed_uids - {self._uid}:
            for one in bound:
                if one.file is not None:
                    unix.share(one.file)
        for warning in warnings_for(addresses, allow_unauthenticated=openly):
            self._log.warning(warning)

    def _start_watchdog(self, doors: TaskGroup) -> None:
        interval = watchdog_interval(self._environ, pid=os.getpid(), share=self._limits.watchdog_share)
        if interval is not None:
            doors.start_soon(Watchdog(self._notifier, interval, lambda: True).run)

    async def _announce(self, listeners: Sequence[Listener], known: int) -> None:
        addresses = [str(listener.address) for listener in listeners] or ["stdio"]
        self._log.info("ready", listen=addresses, state_dir=self._settings.state_dir, tasks=known)
        await self._notifier.ready(f"{known} tasks; listening on {', '.join(addresses)}")

    async def _watch_signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                await self._notifier.stopping(f"{signal.Signals(number).name}; stopping agents")
                self._supervisor.submit(ShutdownAsked(signal.Signals(number).name))

    async def _accept(self, listener: Listener, channels: TaskGroup) -> None:
        while True:
            try:
                link = await listener.accept()
            except anyio.ClosedResourceError:
                return
            channels.start_soon(self._welcome, link)

    async def _welcome(self, link: Link) -> None:
        admission = admit(link.peer, self._policy)
        if admission.verdict is Verdict.REFUSED:
            self._log.warning("peer refused", peer=str(link.peer), reason=admission.reason)
            link.close()
            return
        if len(self._connections) >= self._limits.channels:
            self._log.warning("too many channels", peer=str(link.peer), limit=self._limits.channels)
            link.close()
            return
        await self._converse(link, admitted=admission.verdict is Verdict.ADMITTED)

    async def _converse(self, link: Link, *, admitted: bool) -> None:
        self._channels += 1
        channel = ChannelId(self._channels)
        connection = Connection(
            channel=channel,
            link=link,
            session=Session(str(link.peer), channel, admitted=admitted),
            supervisor=self._supervisor,
            hub=self._hub,
            methods=self._methods,
            limits=self._limits,
        )
        self._connections[channel] = connection
        try:
            await connection.run()
        except Exception:
            self._log.exception("a channel failed", channel=channel)
        finally:
            del self._connections[channel]

    async def _serve_stdio(self, link: Link) -> None:
        await self._converse(link, admitted=True)
        self._supervisor.submit(ShutdownAsked("the channel on stdio ended"))

    # Parts ----------------------------------------------------------------------------------------------------------

    def _make_machine(self) -> Machine:
        return Machine(
            limits=self._limits,
            mint=self._minter.mint,
            agents=self._settings.agents,
            default_agent=self._settings.default_agent,
            state_dir=self._settings.state_dir,
        )

    def _make_supervisor(self) -> Supervisor:
        children = Children(
            profiles=self._settings.agents,
            protocol=protocol,
            environment=self._environment,
            limits=self._limits,
        )
        return Supervisor(
            machine=self._machine,
            hub=self._hub,
            store=self._store,
            children=children,
            shell=Shell(passed_names(self._environ, self._settings.env_pass), self._limits),
            clock=self._clock,
            resolve_cwd=self._resolve_cwd,
            mint=self._minter.mint,
        )

    def _make_queries(self) -> Queries:
        return Queries(
            supervisor=self._supervisor,
            hub=self._hub,
            store=self._store,
            clock=self._clock,
            minter=self._minter,
            limits=self._limits,
            agents=self._profiles(),
            check_token=lambda shown: self._token is not None and token_matches(shown, self._token),
            facts=self,
        )

    def _profiles(self) -> tuple[calls.AgentProfile, ...]:
        default = self._settings.default_agent
        return tuple(
            calls.AgentProfile(name=name, protocol=profile.protocol, is_default=name == default)
            for name, profile in self._settings.agents.items()
        )

    def _environment(self, name: str, profile: AgentProfile) -> dict[str, str]:
        return agent_environment(
            profile, name, self._environ, env_pass=self._settings.env_pass, limits=self._limits, uid=self._uid
        )

    def _resolve_cwd(self, record: TaskRecord) -> str:
        paths = self._store.paths(record.task_id)
        return resolve_cwd(
            record.working_folder,
            record.working_folder_relative,
            self._settings.workspace_root,
            paths.work_dir,
            paths.task_dir,
        )

    # Facts for diag -------------------------------------------------------------------------------------------------

    def channels(self) -> Iterable[Mapping[str, Any]]:
        """Every channel."""
        return [connection.describe() for connection in self._connections.values()]

    def settings(self) -> Mapping[str, Any]:
        """The settings with their sources, secrets masked."""
        return {key: {"value": shown, "source": source} for key, shown, source in explain(self._settings)}

    def counters(self) -> Mapping[str, Any]:
        """Whatever is counted."""
        return {"channelsSoFar": self._channels, "channels": len(self._connections)}
