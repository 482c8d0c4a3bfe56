"""One turn: from an accepted prompt to exactly one `agent_end` or `task_error`.

`agent_end` is published only after the turn is durable. What the agent says outside of a turn is told to hosts but
belongs to none.
"""

from msgspec.structs import replace

from taskd.core.dying import give_up
from taskd.core.effects import ClearTimer, Effect, Publish, Reply, Save, SetTimer, StopChild, Tell
from taskd.core.lifecycle import Trigger
from taskd.core.questions import cancel_questions, close_questions
from taskd.core.stimuli import Origin, Saved, SaveFailed
from taskd.core.world import REMEMBERED_PROMPTS, Command, OpenTurn, Task, World, log, timer
from taskd.model import agent, events
from taskd.model.calls import Abort, AbortResult, FollowUp, Prompt, PromptResult, Steer
from taskd.model.errors import Code, TaskdError
from taskd.model.ids import TurnId, check_opaque_id
from taskd.model.records import Message, Turn
from taskd.model.states import StopReason

_KEPT_WHEN_FULL = 1024
"""Characters kept of each block once a turn has reached its bound."""


# What hosts ask -----------------------------------------------------------------------------------------------------


def prompt(world: World, origin: Origin, params: Prompt) -> list[Effect]:
    """Start a turn in the active task."""
    task = world.target(params.task_id)
    if params.prompt_id is not None:
        check_opaque_id(params.prompt_id, "promptId")
        if (again := _prompted_before(task, params)) is not None:
            return [Reply(origin.call, again)]
    world.permit(task, Trigger.PROMPT)
    if task.turn is not None:
        raise _busy(task)
    if params.images and not (task.abilities and task.abilities.images):
        raise unsupported(task, "images")
    turn = _new_turn(world, task, params)
    result = PromptResult(accepted=True, task_id=task.id, prompt_id=turn.prompt_id, turn_id=turn.turn_id)
    _remember_prompt(task, params, result)
    started = events.TurnStarted(turn_id=turn.turn_id, prompt_id=turn.prompt_id, incarnation=task.incarnation)
    command = agent.Prompt(turn.tag, params.message, params.images)
    return [Reply(origin.call, result), Publish(task.id, started), Tell(task.id, task.incarnation, command)]


def say(world: World, origin: Origin, params: Steer | FollowUp) -> list[Effect]:
    """Say something to a running turn, or for after it."""
    task = world.target(params.task_id)
    if task.abilities is not None and not task.abilities.steer:
        raise unsupported(task, "steer")
    if task.turn is None or task.turn.saving or not task.live:
        raise TaskdError(
            Code.TASK_NOT_READY, f"no turn is running in task {task.id}; use prompt", details={"taskId": task.id}
        )
    tag = world.tag()
    task.commands[tag] = Command("say", origin.call, task.turn.turn_id)
    kind = agent.Steer if isinstance(params, Steer) else agent.FollowUp
    return [
        SetTimer(timer("answer", task, str(tag)), world.limits.agent_answer_seconds),
        Tell(task.id, task.incarnation, kind(tag, params.message)),
    ]


def abort(world: World, origin: Origin, params: Abort) -> list[Effect]:
    """End the running turn; `agent_end` follows with the reason aborted."""
    task = world.target(params.task_id)
    turn = task.turn
    if turn is None or turn.saving or not task.live:
        return [Reply(origin.call, AbortResult(aborting=False, task_id=task.id))]
    reply = Reply(origin.call, AbortResult(aborting=True, task_id=task.id, turn_id=turn.turn_id))
    if turn.aborting:
        return [reply]
    turn.aborting = True
    return [
        reply,
        SetTimer(timer("abort", task), world.limits.abort_seconds),
        *cancel_questions(task),
        Tell(task.id, task.incarnation, agent.Abort()),
    ]


def abort_timeout(world: World, task: Task) -> list[Effect]:
    """The agent did not end its turn: it is stopped, and the turn ends in `task_error`."""
    if task.turn is None or task.turn.saving or not task.live:
        return []
    seconds = world.limits.abort_seconds
    return [
        log("warning", "agent ignores abort", task=task.id, seconds=seconds),
        StopChild(task.id, task.incarnation),
    ]


# What the agent says ------------------------------------------------------------------------------------------------


def text(world: World, task: Task, said: agent.TextDelta) -> list[Effect]:
    """More of the answer."""
    return [Publish(task.id, events.AgentOutput(chunk=said.text, kind=said.kind))]


def tool_started(world: World, task: Task, said: agent.ToolStarted) -> list[Effect]:
    """A tool call begins."""
    event = events.ToolStarted(turn_id=_turn_id(task), tool_call_id=said.tool_call_id, tool=said.name, args=said.args)
    return [Publish(task.id, event)]


def tool_output(world: World, task: Task, said: agent.ToolOutput) -> list[Effect]:
    """A tool prints."""
    event = events.ToolOutput(turn_id=_turn_id(task), tool_call_id=said.tool_call_id, chunk=said.text, reset=said.reset)
    return [Publish(task.id, event)]


def tool_ended(world: World, task: Task, said: agent.ToolEnded) -> list[Effect]:
    """A tool call is over."""
    event = events.ToolEnded(
        turn_id=_turn_id(task),
        tool_call_id=said.tool_call_id,
        tool=said.name,
        is_error=said.is_error,
        duration_ms=said.duration_ms,
    )
    return [Publish(task.id, event)]


def message_ended(world: World, task: Task, said: agent.MessageEnded) -> list[Effect]:
    """A message is whole: keep it for the session, and count what it cost."""
    turn = task.turn
    if turn is None or turn.saving:
        return []
    turn.messages.append(Message(said.role, _kept(world, turn, said.content)))
    if said.usage is None:
        return []
    turn.usage = turn.usage + said.usage
    event = events.UsageReported(turn_id=turn.turn_id, usage=said.usage, turn_usage=turn.usage)
    return [Publish(task.id, event)]


def turn_ended(world: World, task: Task, said: agent.TurnEnded) -> list[Effect]:
    """The agent is done with the turn."""
    if task.turn is None or task.turn.saving:
        return []
    reason = StopReason(said.stop_reason)
    if task.turn.aborting and reason is StopReason.STOP:
        # Cancelling an open question may end the agent's turn before the abort behind it is heard.
        reason = StopReason.ABORTED
    return end_turn(world, task, reason, said.error)


def prompt_refused(world: World, task: Task, tag: int, why: str) -> list[Effect]:
    """The agent would not take the prompt: its turn ends with the agent's words."""
    if task.turn is None or task.turn.tag != tag or task.turn.saving:
        return []
    return end_turn(world, task, StopReason.ERROR, why or "the agent refused the prompt")


def end_turn(world: World, task: Task, reason: StopReason, error: str) -> list[Effect]:
    """Save the open turn; it ends for hosts when it is durable."""
    turn = task.turn
    assert turn is not None
    turn.saving = True
    turn.ended = (reason.value, error)
    record = Turn(
        turn_id=turn.turn_id,
        number=turn.number,
        prompt_id=turn.prompt_id,
        started_at=turn.started_at,
        ended_at=world.wall,
        stop_reason=reason.value,
        error=error,
        usage=turn.usage,
        messages=tuple(turn.messages),
    )
    return [
        ClearTimer(timer("abort", task)),
        ClearTimer(timer("stop", task)),
        *close_questions(task),
        Save(task.record, record),
    ]


# What the disk says -------------------------------------------------------------------------------------------------


def saved(world: World, task: Task, stimulus: Saved) -> list[Effect]:
    """The turn is durable: now it may be told."""
    turn = task.turn
    if turn is None or turn.turn_id != stimulus.turn_id:
        return []
    task.turn = None
    task.commands.pop(turn.tag, None)
    task.turn_count = stimulus.turn_count
    task.usage = task.usage + turn.usage
    reason, error = turn.ended
    event = events.AgentEnd(
        turn_id=turn.turn_id,
        prompt_id=turn.prompt_id,
        turn_number=stimulus.turn_count,
        stop_reason=reason,
        usage=turn.usage,
        error=error,
        save_ms=stimulus.save_ms,
    )
    return [Publish(task.id, event)]


def save_failed(world: World, task: Task, stimulus: SaveFailed) -> list[Effect]:
    """The turn is not durable, so it cannot be told: the session on disk is the one before it."""
    if task.turn is None or task.turn.turn_id != stimulus.turn_id:
        return []
    if not task.live and not task.stopping:
        task.turn = None
        return []
    return give_up(world, task, stimulus.error)


def unsupported(task: Task, what: str) -> TaskdError:
    """The error for what an agent cannot do."""
    return TaskdError(
        Code.UNSUPPORTED,
        f"agent {task.record.agent!r} of task {task.id} has no {what}",
        details={"taskId": task.id, "ability": what},
    )


def _new_turn(world: World, task: Task, params: Prompt) -> OpenTurn:
    prompt_id = params.prompt_id or world.mint("prompt")
    turn = OpenTurn(TurnId(world.mint("turn")), prompt_id, world.tag(), task.turn_count + 1, world.wall)
    task.turn = turn
    task.commands[turn.tag] = Command("prompt", None, turn.turn_id)
    return turn


def _prompted_before(task: Task, params: Prompt) -> PromptResult | None:
    known = task.prompts.get(params.prompt_id or "")
    if known is None:
        return None
    message, result = known
    if message != params.message:
        raise TaskdError(
            Code.INVALID_REQUEST,
            "this promptId was used before with another message; use a new one for a new prompt",
            details={"promptId": params.prompt_id},
        )
    return result


def _remember_prompt(task: Task, params: Prompt, result: PromptResult) -> None:
    if params.prompt_id is None:
        return
    task.prompts[params.prompt_id] = (params.message, result)
    while len(task.prompts) > REMEMBERED_PROMPTS:
        del task.prompts[next(iter(task.prompts))]


def _busy(task: Task) -> TaskdError:
    turn = task.turn
    assert turn is not None
    return TaskdError(
        Code.TASK_NOT_READY,
        f"task {task.id} is working on turn {turn.number}; steer, follow_up or abort it, or wait for agent_end",
        details={"taskId": task.id, "turnId": turn.turn_id, "promptId": turn.prompt_id},
    )


def _turn_id(task: Task) -> str:
    return task.turn.turn_id if task.turn else ""


def _kept(world: World, turn: OpenTurn, blocks: tuple[agent.Block, ...]) -> tuple[agent.Block, ...]:
    size = sum(len(block.text) + len(bytes(block.args)) for block in blocks)
    turn.bytes_kept += size
    if turn.bytes_kept <= world.limits.turn_bytes:
        return blocks
    turn.bytes_kept -= size
    return tuple(
        replace(block, text=block.text[:_KEPT_WHEN_FULL], truncated=len(block.text) > _KEPT_WHEN_FULL)
        for block in blocks
    )
