"""Questions of an agent: asked, answered once, given up by the agent, or closed with their turn.

A question blocks its agent until it is answered. Real pi does not even hear an abort while one is open, so an abort
cancels them first.
"""

from taskd.core.effects import ClearTimer, Effect, Publish, Reply, SetTimer, Tell
from taskd.core.stimuli import Origin
from taskd.core.world import OpenQuestion, Task, World, log, timer
from taskd.model import agent, events
from taskd.model.calls import Answer, AnswerResult
from taskd.model.errors import Code, TaskdError
from taskd.model.ids import TurnId


def asked(world: World, task: Task, said: agent.Asked) -> list[Effect]:
    """The agent has a question: every channel is told, whether the task is active or not."""
    if said.request_id in task.questions:
        return []
    if len(task.questions) >= world.limits.questions_per_task:
        return [
            log("warning", "too many open questions", task=task.id),
            Tell(task.id, task.incarnation, agent.AnswerQuestion(said.request_id, cancelled=True)),
        ]
    turn_id = task.turn.turn_id if task.turn else None
    task.questions[said.request_id] = OpenQuestion(said, world.wall, turn_id)
    effects: list[Effect] = [Publish(task.id, _question_event(said, turn_id))]
    if said.timeout_ms:
        effects.append(SetTimer(timer("question", task, said.request_id), said.timeout_ms / 1000))
    return effects


def question_timeout(world: World, task: Task, request_id: str) -> list[Effect]:
    """The agent stopped waiting by itself."""
    if task.questions.pop(request_id, None) is None:
        return []
    return [Publish(task.id, events.AgentQuestionClosed(request_id=request_id, outcome="gone"))]


def answer(world: World, origin: Origin, params: Answer) -> list[Effect]:
    """Give a host's answer to the agent that asked."""
    task = _asking(world, params)
    question = task.questions[params.request_id].asked
    command = _checked_answer(question, params)
    del task.questions[params.request_id]
    outcome = "cancelled" if command.cancelled else "answered"
    return [
        Reply(origin.call, AnswerResult(answered=True, task_id=task.id, request_id=params.request_id)),
        ClearTimer(timer("question", task, params.request_id)),
        Tell(task.id, task.incarnation, command),
        Publish(task.id, events.AgentQuestionClosed(request_id=params.request_id, outcome=outcome)),
    ]


def close_questions(task: Task, outcome: str = "gone") -> list[Effect]:
    """Nobody waits for these answers any more."""
    effects: list[Effect] = []
    for request_id in task.questions:
        effects.append(ClearTimer(timer("question", task, request_id)))
        effects.append(Publish(task.id, events.AgentQuestionClosed(request_id=request_id, outcome=outcome)))
    task.questions.clear()
    return effects


def cancel_questions(task: Task) -> list[Effect]:
    """Tell the agent that nobody will answer, so that it hears what is said next."""
    told: list[Effect] = [
        Tell(task.id, task.incarnation, agent.AnswerQuestion(request_id, cancelled=True))
        for request_id in task.questions
    ]
    return told + close_questions(task, "cancelled")


def _asking(world: World, params: Answer) -> Task:
    candidates = [world.find(params.task_id)] if params.task_id else list(world.tasks.values())
    for task in candidates:
        if params.request_id in task.questions and task.live:
            return task
    raise TaskdError(
        Code.QUESTION_NOT_FOUND,
        f"no open question {params.request_id!r}; it may be answered, or its turn may be over",
        details={"requestId": params.request_id},
    )


def _checked_answer(question: agent.Asked, params: Answer) -> agent.AnswerQuestion:
    if params.cancelled:
        return agent.AnswerQuestion(question.request_id, cancelled=True)
    if question.kind == "confirm":
        if params.confirmed is None:
            raise _bad_answer("confirmed", "this question wants `confirmed` (true or false), or `cancelled`")
        return agent.AnswerQuestion(question.request_id, confirmed=params.confirmed)
    if params.value is None:
        raise _bad_answer("value", "this question wants `value`, or `cancelled`")
    if question.options and params.value not in question.options:
        raise _bad_answer("value", f"value must be one of {', '.join(question.options)}")
    return agent.AnswerQuestion(question.request_id, value=params.value)


def _bad_answer(field: str, message: str) -> TaskdError:
    return TaskdError(Code.INVALID_PARAMS, message, details={"field": field})


def _question_event(said: agent.Asked, turn_id: TurnId | None) -> events.AgentQuestion:
    return events.AgentQuestion(
        request_id=said.request_id,
        kind=said.kind,
        title=said.title,
        turn_id=turn_id,
        message=said.message,
        options=said.options,
        placeholder=said.placeholder,
        prefill=said.prefill,
        timeout_ms=said.timeout_ms,
    )
