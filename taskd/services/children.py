"""Which agent runs for which task: spawning, telling, stopping, and the word that one is gone.

Everything is keyed by task and incarnation, so that nothing of an old process can be taken for the new one.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import structlog

from taskd.agents.base import AgentProfile, AgentProtocol, Opening
from taskd.core.effects import Open
from taskd.core.stimuli import AgentSaid, ChildGone, Prepared, Stimulus
from taskd.model.agent import Answered, Command, Said
from taskd.model.errors import Code, TaskdError
from taskd.model.ids import TaskId
from taskd.model.limits import Limits
from taskd.model.records import Opened, TaskRecord
from taskd.services.child import Child

Key = tuple[TaskId, int]


class Junction(Protocol):
    """What the children report to."""

    def submit(self, stimulus: Stimulus) -> None:
        """Say what happened."""

    def heard(self, task: TaskId, incarnation: int, said: list[Said], raw: list[bytes]) -> None:
        """Say what an agent said, in one burst."""

    def wants_raw(self, task: TaskId) -> bool:
        """Say whether a host wants this task's raw lines now."""


class Children:
    """All running agents.

    Args:
        profiles: the agents of the settings, by name.
        protocol: gives a protocol by the name that profiles use.
        environment: builds the environment of an agent from its name and profile.
        limits: bounds.
    """

    def __init__(
        self,
        *,
        profiles: Mapping[str, AgentProfile],
        protocol: Callable[[str], AgentProtocol],
        environment: Callable[[str, AgentProfile], dict[str, str]],
        limits: Limits,
    ) -> None:
        self._profiles = profiles
        self._protocol = protocol
        self._environment = environment
        self._limits = limits
        self._running: dict[Key, Child] = {}
        self._opening: dict[Key, bool] = {}
        """What is being prepared or spawned, and whether it was given up meanwhile."""

    def __len__(self) -> int:
        return len(self._running)

    def protocol(self, record: TaskRecord) -> AgentProtocol:
        """Give the protocol of a task's agent."""
        return self._protocol(self._profiles[record.agent].protocol)

    def expect(self, wanted: Open) -> None:
        """Know that this incarnation is being prepared, so that a stop before its spawn is not lost."""
        self._opening[wanted.task, wanted.incarnation] = False

    def forget(self, wanted: Open) -> None:
        """It is not being prepared any more."""
        self._opening.pop((wanted.task, wanted.incarnation), None)

    async def run(self, junction: Junction, wanted: Open, opened: Opened) -> None:
        """Spawn the agent of an opened task and stay with it to its end.

        Raises:
            TaskdError: it could not be spawned; nothing is left of it.
        """
        key = (wanted.task, wanted.incarnation)
        if self._opening[key]:
            raise _given_up(wanted)
        child = await self._spawn(junction, wanted, opened)
        self._running[key] = child
        if self._opening.pop(key):
            child.stop()
        try:
            exit, stderr_tail = await child.run()
        finally:
            del self._running[key]
        junction.submit(ChildGone(*key, code=exit.code, signal=exit.signal, stderr_tail=stderr_tail))

    def tell(self, junction: Junction, task: TaskId, incarnation: int, command: Command) -> None:
        """Say something to an agent. One that is gone will be reported; one that does not read refuses."""
        child = self._running.get((task, incarnation))
        if child is None or child.tell(command):
            return
        tag: Any = getattr(command, "tag", None)
        if tag is not None:
            refusal = Answered(tag, ok=False, error="the agent does not read its stdin")
            junction.submit(AgentSaid(task, incarnation, refusal))

    def stop(self, task: TaskId, incarnation: int) -> None:
        """Start the stop ladder of an agent, now or as soon as it runs."""
        key = (task, incarnation)
        if key in self._opening:
            self._opening[key] = True
        elif key in self._running:
            self._running[key].stop()

    async def _spawn(self, junction: Junction, wanted: Open, opened: Opened) -> Child:
        record = wanted.record
        profile = self._profiles[record.agent]
        protocol = self.protocol(record)
        opening = _opening(record, opened)

        def heard(said: list[Said], raw: list[bytes]) -> None:
            junction.heard(wanted.task, wanted.incarnation, said, raw)

        codec = protocol.codec(opening, self._limits, keep_raw=False)
        name = {"task": wanted.task, "incarnation": wanted.incarnation}
        child = Child(name, codec, heard, lambda: junction.wants_raw(wanted.task), self._limits)
        launch = protocol.launch(profile, opening)
        environment = self._environment(record.agent, profile)
        try:
            await child.spawn(launch, environment, opened.cwd)
        except (OSError, ValueError) as error:
            structlog.get_logger("taskd.children").warning("spawn failed", task=wanted.task, error=str(error))
            raise _not_started(record, launch.argv[0], error) from error
        junction.submit(Prepared(wanted.task, wanted.incarnation, opened))
        return child


def _opening(record: TaskRecord, opened: Opened) -> Opening:
    return Opening(
        task_id=record.task_id,
        cwd=opened.cwd,
        native_session=opened.native_session,
        provider=record.provider,
        model=record.model,
        thinking_level=record.thinking_level,
    )


def _given_up(wanted: Open) -> TaskdError:
    return TaskdError(Code.TASK_BOOTSTRAP_FAILED, f"task {wanted.task} was given up before its agent was started")


def _not_started(record: TaskRecord, program: str, error: Exception) -> TaskdError:
    return TaskdError(
        Code.TASK_BOOTSTRAP_FAILED,
        f"cannot start {program!r} for task {record.task_id}: {error}; check [agents.{record.agent}] in the settings",
        details={"taskId": record.task_id, "agent": record.agent, "program": program},
    )
