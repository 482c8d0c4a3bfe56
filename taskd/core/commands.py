"""Commands to an agent that wait for its answer."""

from collections.abc import Callable
from typing import Any

from taskd.core.effects import ClearTimer, Effect, Publish, Refuse, Reply, SaveRecord, SetTimer, Tell
from taskd.core.stimuli import Origin
from taskd.core.turns import prompt_refused, unsupported
from taskd.core.world import Command, Task, World, not_ready, timer
from taskd.model import agent, events
from taskd.model.calls import ListModels, ModelsResult, SayResult, SetModel, SetModelResult
from taskd.model.errors import Code, TaskdError
from taskd.model.ids import CallId, TurnId


def set_model(world: World, origin: Origin, params: SetModel) -> list[Effect]:
    """Use another model; the answer is the agent's."""
    model = params.model or params.model_id or ""
    return _command(world, origin, params.task_id, "set_model", lambda tag: agent.SetModel(tag, params.provider, model))


def list_models(world: World, origin: Origin, params: ListModels) -> list[Effect]:
    """Ask the agent for its models."""
    return _command(world, origin, params.task_id, "list_models", agent.ListModels)


def answered(world: World, task: Task, said: agent.Answered) -> list[Effect]:
    """The agent answered a command."""
    command = task.commands.pop(said.tag, None)
    if command is None:
        return []
    effects: list[Effect] = [ClearTimer(timer("answer", task, str(said.tag)))]
    if command.kind == "prompt":
        return [] if said.ok else prompt_refused(world, task, said.tag, said.error)
    assert command.call is not None
    if not said.ok:
        return [*effects, Refuse(command.call, _refused(task, command.kind, said.error))]
    return effects + _RESULTS[command.kind](world, task, command.call, command.turn_id, said.value)


def answer_timeout(world: World, task: Task, tag: int) -> list[Effect]:
    """The agent did not answer a command in time; the task goes on."""
    command = task.commands.pop(tag, None)
    if command is None or command.call is None:
        return []
    error = TaskdError(
        Code.AGENT_TIMEOUT,
        f"the agent of task {task.id} did not answer {command.kind} within {world.limits.agent_answer_seconds:g} s",
        details={"taskId": task.id},
    )
    return [Refuse(command.call, error)]


def _command(
    world: World, origin: Origin, task_id: str | None, kind: str, make: Callable[[int], agent.Command]
) -> list[Effect]:
    task = world.target(task_id)
    if not task.live or task.stopping or task.abilities is None:
        raise not_ready(task, kind)
    if not task.abilities.models:
        raise unsupported(task, "models")
    tag = world.tag()
    task.commands[tag] = Command(kind, origin.call)
    return [
        SetTimer(timer("answer", task, str(tag)), world.limits.agent_answer_seconds),
        Tell(task.id, task.incarnation, make(tag)),
    ]


def _model_set(world: World, task: Task, call: CallId, turn_id: TurnId | None, value: Any) -> list[Effect]:
    assert isinstance(value, agent.Model)
    world.note_model(task, value)
    result = SetModelResult(id=value.id, name=value.name or value.id, provider=value.provider, task_id=task.id)
    return [
        Reply(call, result),
        SaveRecord(task.record),
        Publish(task.id, events.ModelChanged(provider=value.provider, model=value.id)),
    ]


def _models_listed(world: World, task: Task, call: CallId, turn_id: TurnId | None, value: Any) -> list[Effect]:
    return [Reply(call, ModelsResult(models=tuple(value)))]


def _said(world: World, task: Task, call: CallId, turn_id: TurnId | None, value: Any) -> list[Effect]:
    return [Reply(call, SayResult(queued=True, task_id=task.id, turn_id=turn_id or ""))]


_RESULTS: dict[str, Callable[[World, Task, CallId, TurnId | None, Any], list[Effect]]] = {
    "set_model": _model_set,
    "list_models": _models_listed,
    "say": _said,
}


def _refused(task: Task, kind: str, why: str) -> TaskdError:
    return TaskdError(
        Code.AGENT_REFUSED,
        f"the agent of task {task.id} refused {kind}: {why}",
        details={"taskId": task.id, "agentError": why},
    )
