"""A conversation with the machine: stimuli go in, effects are read as short sentences.

    play = Playbook()
    play.open("a")            # asks, answers as the store and the agent would
    play >> switch("a")
    assert play.said() == ["reply switching", "task_switch_started a", "task_ready a"]

The machine's own invariants are checked after every step.
"""

from collections.abc import Iterator
from typing import Any

from taskd.core import effects as fx
from taskd.core.machine import Machine
from taskd.core.stimuli import (
    AgentSaid,
    Asked,
    ChannelClosed,
    ChildGone,
    Origin,
    Prepared,
    Saved,
    Stimulus,
    Timer,
    TimerFired,
)
from taskd.model import agent, calls
from taskd.model.agent import Abilities, Said
from taskd.model.errors import TaskdError
from taskd.model.ids import CallId, ChannelId, TaskId
from taskd.model.limits import Limits
from taskd.model.records import Opened

ALL = Abilities(resume=True, images=True, steer=True, models=True, questions=True)


class Playbook:
    """One machine under test."""

    def __init__(self, limits: Limits | None = None) -> None:
        counter = iter(range(1, 1_000_000))
        self.limits = limits or Limits()
        self.machine = Machine(
            limits=self.limits,
            mint=lambda prefix: f"{prefix}_{next(counter)}",
            agents=("shell", "pi"),
            default_agent="shell",
            state_dir="/state",
            check=True,
        )
        self.now = 1000.0
        self.effects: list[fx.Effect] = []
        self.answers: dict[int, Any] = {}
        self._calls = 0

    def __rshift__(self, stimulus: Stimulus) -> "Playbook":
        self.effects = self.machine.step(stimulus, self.now, "2026-01-01T00:00:00.000Z")
        for effect in self.effects:
            if isinstance(effect, fx.Reply):
                self.answers[effect.call] = effect.result
            elif isinstance(effect, fx.Refuse):
                self.answers[effect.call] = effect.error
        return self

    def ask(
        self,
        params: calls.Params,
        *,
        channel: int = 1,
        key: str | None = None,
        event_first: bool = False,
        newest_drives: bool = False,
    ) -> int:
        """Ask as a host would; give the call's number."""
        self._calls += 1
        origin = Origin(CallId(self._calls), ChannelId(channel), key, repr(params), event_first, newest_drives)
        _ = self >> Asked(origin, params)
        return self._calls

    def says(self, task: str, *said: Said, incarnation: int | None = None) -> "Playbook":
        """Let a task's agent speak; effects of all its words are kept."""
        gathered: list[fx.Effect] = []
        for one in said:
            number = self.task(task).incarnation if incarnation is None else incarnation
            _ = self >> AgentSaid(TaskId(task), number, one)
            gathered += self.effects
        self.effects = gathered
        return self

    def dies(self, task: str, code: int | None = 1, signal: int | None = None, tail: str = "") -> "Playbook":
        """Let a task's process end."""
        return self >> ChildGone(TaskId(task), self.task(task).incarnation, code, signal, tail)

    def fires(self, kind: str, task: str = "", detail: str = "") -> "Playbook":
        """Let a timer run out."""
        return self >> TimerFired(Timer(kind, task, detail))

    def leaves(self, channel: int) -> "Playbook":
        """Let a host hang up."""
        return self >> ChannelClosed(ChannelId(channel))

    def open(self, task: str, *, abilities: Abilities = ALL, channel: int = 1, **params: Any) -> int:
        """Open a task to ready."""
        call = self.ask(calls.CreateOrOpenTask(task_id=task, **params), channel=channel)
        self.prepare(task)
        self.says(task, agent.Ready(abilities))
        return call

    def prepare(self, task: str) -> "Playbook":
        """Let the store make the folder ready."""
        opened = Opened(f"/state/{task}", f"/state/{task}/work", f"/state/{task}/agent/session.jsonl")
        return self >> Prepared(TaskId(task), self.task(task).incarnation, opened)

    def activate(self, task: str) -> None:
        """Open a task and make it active."""
        self.open(task)
        self.ask(calls.SwitchTask(task_id=task))

    def prompt(self, message: str = "hello", **params: Any) -> int:
        """Start a turn."""
        return self.ask(calls.Prompt(message=message, **params))

    def saves(self, task: str) -> "Playbook":
        """Let the disk take the turn that is being saved."""
        turn = self.task(task).turn
        assert turn is not None
        assert turn.saving
        return self >> Saved(TaskId(task), turn.turn_id, self.task(task).turn_count + 1, 1.5)

    def task(self, task: str) -> Any:
        """Give the machine's view of a task."""
        return self.machine.world.tasks[TaskId(task)]

    def state(self, task: str) -> str:
        """Give a task's state."""
        return str(self.task(task).state.value)

    def answer(self, call: int) -> Any:
        """Give what a call was answered, `"nothing"` while it was not; for errors their code."""
        answer = self.answers.get(call, "nothing")
        return answer.code.value if isinstance(answer, TaskdError) else answer

    def said(self) -> list[str]:
        """Read the effects of the last step as sentences, timers and logs left out."""
        return [sentence for effect in self.effects for sentence in _sentence(effect)]

    def wanted(self, kind: type[fx.Effect]) -> list[Any]:
        """Give the effects of one kind of the last step."""
        return [effect for effect in self.effects if isinstance(effect, kind)]


def _sentence(effect: fx.Effect) -> Iterator[str]:
    match effect:
        case fx.Reply(_, result):
            yield f"reply {_gist(result)}"
        case fx.Refuse(_, error):
            yield f"refuse {error.code.value}"
        case fx.Publish(task, event):
            yield f"{event.name} {task}" if task else event.name
        case fx.Tell(task, _, command):
            yield f"tell {task} {type(command).__name__}"
        case fx.Open(task, incarnation, _):
            yield f"open {task} #{incarnation}"
        case fx.StopChild(task, incarnation):
            yield f"stop child {task} #{incarnation}"
        case fx.Save(record, turn):
            yield f"save {record.task_id} turn {turn.number}"
        case fx.RunBash():
            yield "run bash"
        case fx.Quit():
            yield "quit"
        case _:
            return


def _gist(result: calls.Result) -> str:
    for field in ("mode", "status", "state"):
        if (value := getattr(result, field, None)) is not None:
            return str(value)
    return type(result).__name__
