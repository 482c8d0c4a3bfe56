"""The machine: every task, the active one, the answers that are due. One synchronous step; no clock, no I/O.

Theory of operation. A stimulus says what happened, a list of effects says what is wanted; the order of the list is
the order in which hosts see replies and events. Which function takes which stimulus stands in the tables at the end
of this file. A call that must not go through raises a `TaskdError`, and nothing has changed by then. Asynchronous
work (a spawn, a write to disk, a timer) is an effect that ends by submitting another stimulus. What an older
incarnation says is dropped here, in one place.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from taskd.core import commands, lease, opening, questions, stopping, switching, turns
from taskd.core.effects import Effect, Refuse, Reply, RunBash
from taskd.core.idempotency import Replays
from taskd.core.stimuli import (
    AgentSaid,
    Asked,
    CallFinished,
    ChannelClosed,
    ChildGone,
    Loaded,
    OpenFailed,
    Origin,
    Prepared,
    Saved,
    SaveFailed,
    ShutdownAsked,
    Stimulus,
    TimerFired,
)
from taskd.core.world import Task, World, log
from taskd.model import agent, calls
from taskd.model.errors import Code, TaskdError
from taskd.model.ids import TaskId
from taskd.model.limits import Limits


class Machine:
    """All decisions of the daemon.

    Args:
        limits: the bounds that decisions use.
        mint: makes a new id from a prefix; entropy is the caller's.
        agents: names of the agents in the settings.
        default_agent: the one that a task gets when none is asked for.
        state_dir: the state folder, for the paths that hosts are told.
        check: assert the invariants after every step (tests).
    """

    def __init__(
        self,
        *,
        limits: Limits,
        mint: Callable[[str], str],
        agents: Iterable[str],
        default_agent: str,
        state_dir: str,
        check: bool = False,
    ) -> None:
        self.world = World(limits=limits, mint=mint, agents=agents, default_agent=default_agent, state_dir=state_dir)
        self.replays = Replays(limits.idempotency_entries, limits.idempotency_bytes)
        self._story: deque[tuple[float, Stimulus, list[Effect]]] = deque(maxlen=limits.story_entries)
        self._check = check

    def step(self, stimulus: Stimulus, mono: float, wall: str) -> list[Effect]:
        """Decide. `mono` is a clock that only goes forward, in seconds; `wall` the time of day in RFC 3339."""
        world = self.world
        world.mono = mono
        world.wall = wall
        if type(stimulus) is AgentSaid:
            task = world.tasks.get(stimulus.task)
            if task is None or task.incarnation != stimulus.incarnation or not task.live:
                return []
            effects = self._agent_said(task, stimulus.said)
            if type(stimulus.said) in _STREAM:
                return effects
        else:
            effects = _STIMULI[type(stimulus)](self, stimulus)
        if world.quitting is not None:
            effects = effects + stopping.quit_if_done(world)
        effects = self.replays.settle(effects)
        self._story.append((mono, stimulus, effects))
        if self._check:
            world.check()
        return effects

    def story(self) -> list[str]:
        """Tell the last steps but for streamed output, one line each, oldest first."""
        return [f"{mono:.3f} {_brief(stimulus)} -> {_names(effects)}" for mono, stimulus, effects in self._story]

    def _agent_said(self, task: Task, said: agent.Said) -> list[Effect]:
        handler = _SAID.get(type(said))
        task.heard_at = self.world.mono
        if self.world.switching is not None and type(said) is not agent.Noise:
            heard = switching.heard(self.world, task)
            return heard + handler(self.world, task, said) if handler else heard
        return handler(self.world, task, said) if handler else []

    def _asked(self, stimulus: Asked) -> list[Effect]:
        origin = stimulus.origin
        replay = self.replays.admit(origin)
        if replay is not None:
            return replay
        try:
            return self._decide(origin, stimulus.params)
        except TaskdError as error:
            return [Refuse(origin.call, error)]

    def _decide(self, origin: Origin, params: calls.Params) -> list[Effect]:
        world = self.world
        if world.quitting is not None and not isinstance(params, calls.Shutdown):
            raise TaskdError(Code.SHUTTING_DOWN, f"the daemon is stopping ({world.quitting})")
        leased = [] if isinstance(params, _FREE) else lease.require(world, origin)
        try:
            return _CALLS[type(params)](world, origin, params) + leased
        except TaskdError as error:
            return [Refuse(origin.call, error), *leased]

    def _timer_fired(self, stimulus: TimerFired) -> list[Effect]:
        timer = stimulus.timer
        if timer == stopping.SHUTDOWN:
            return stopping.shutdown_timeout(self.world)
        task = self.world.tasks.get(TaskId(timer.task))
        return _TIMERS[timer.kind](self.world, task, timer.detail) if task is not None else []

    def _saved(self, stimulus: Saved | SaveFailed) -> list[Effect]:
        task = self.world.tasks.get(stimulus.task)
        if task is None:
            return []
        told = (
            turns.saved(self.world, task, stimulus)
            if isinstance(stimulus, Saved)
            else turns.save_failed(self.world, task, stimulus)
        )
        return told + stopping.after_save(self.world, task)


def _run_bash(world: World, origin: Origin, params: calls.SystemBash) -> list[Effect]:
    base = world.tasks[world.active].cwd if world.active is not None else None
    return [RunBash(origin.call, params, base)]


def _finished(stimulus: CallFinished) -> list[Effect]:
    if stimulus.error is not None:
        return [Refuse(stimulus.call, stimulus.error)]
    return [Reply(stimulus.call, stimulus.result)]


def _noise(world: World, task: Task, said: agent.Noise) -> list[Effect]:
    task.noises += 1
    if task.noises > _LOGGED_NOISES and task.noises & (task.noises - 1):
        return []
    return [log("warning", "agent noise", task=task.id, reason=said.reason, sample=said.sample, count=task.noises)]


def _brief(stimulus: Stimulus) -> str:
    text = repr(stimulus)
    return text if len(text) <= 200 else text[:200] + "…"


def _names(effects: list[Effect]) -> str:
    return ", ".join(type(effect).__name__ for effect in effects) or "nothing"


_LOGGED_NOISES: Final = 16
"""Noises of an incarnation that are all logged; of those after them each power of two, so that none fills the disk."""

_STREAM: Final = frozenset({agent.TextDelta, agent.ToolOutput, agent.Noise})
"""Said so often that the story leaves them out."""

_FREE: Final = (calls.ListModels, calls.Answer, calls.TakeDriver, calls.ReleaseDriver)
"""Calls that need no driver lease."""

_Handler = Callable[..., list[Effect]]

_CALLS: Final[dict[type[calls.Params], _Handler]] = {
    calls.CreateOrOpenTask: opening.open_task,
    calls.SwitchTask: switching.switch_task,
    calls.Prompt: turns.prompt,
    calls.Steer: turns.say,
    calls.FollowUp: turns.say,
    calls.Abort: turns.abort,
    calls.StopTask: stopping.stop_task,
    calls.SetModel: commands.set_model,
    calls.ListModels: commands.list_models,
    calls.Answer: questions.answer,
    calls.SystemBash: _run_bash,
    calls.TakeDriver: lease.take,
    calls.ReleaseDriver: lease.release,
    calls.Shutdown: stopping.shutdown,
}

_SAID: Final[dict[type[agent.Said], _Handler]] = {
    agent.TextDelta: turns.text,
    agent.ToolOutput: turns.tool_output,
    agent.ToolStarted: turns.tool_started,
    agent.ToolEnded: turns.tool_ended,
    agent.MessageEnded: turns.message_ended,
    agent.TurnEnded: turns.turn_ended,
    agent.Ready: opening.agent_ready,
    agent.Refused: opening.agent_refused,
    agent.Answered: commands.answered,
    agent.Asked: questions.asked,
    agent.Noise: _noise,
}

_TIMERS: Final[dict[str, _Handler]] = {
    "bootstrap": lambda world, task, _: opening.bootstrap_timeout(world, task),
    "switch": lambda world, task, _: switching.switch_timeout(world, task),
    "abort": lambda world, task, _: turns.abort_timeout(world, task),
    "stop": lambda world, task, _: stopping.stop_abort_timeout(world, task),
    "answer": lambda world, task, detail: commands.answer_timeout(world, task, int(detail)),
    "question": questions.question_timeout,
}

_STIMULI: Final[dict[type[Stimulus], Callable[[Machine, Any], list[Effect]]]] = {
    Asked: Machine._asked,
    ChannelClosed: lambda machine, stimulus: lease.channel_closed(machine.world, stimulus),
    Loaded: lambda machine, stimulus: opening.loaded(machine.world, stimulus),
    Prepared: lambda machine, stimulus: opening.prepared(machine.world, stimulus),
    OpenFailed: lambda machine, stimulus: stopping.open_failed(machine.world, stimulus),
    ChildGone: lambda machine, stimulus: stopping.child_gone(machine.world, stimulus),
    Saved: Machine._saved,
    SaveFailed: Machine._saved,
    CallFinished: lambda machine, stimulus: _finished(stimulus),
    TimerFired: Machine._timer_fired,
    ShutdownAsked: lambda machine, stimulus: stopping.shutdown_asked(machine.world, stimulus),
}
