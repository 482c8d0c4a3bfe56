"""The end of an incarnation that nobody asked for: given up, died, or could not save.

`task_error` is the last thing published of an incarnation; whoever waits for it is refused first.
"""

from taskd.core.effects import ClearTimer, Effect, Publish, Refuse, StopChild
from taskd.core.lifecycle import Trigger
from taskd.core.questions import close_questions
from taskd.core.stimuli import ChildGone
from taskd.core.world import Task, World, timer
from taskd.model.errors import Code, TaskdError
from taskd.model.events import TaskBootstrapState, TaskError
from taskd.model.states import Bootstrap, TaskState

_TIMERS = ("bootstrap", "switch", "abort", "stop")


def give_up(world: World, task: Task, error: TaskdError) -> list[Effect]:
    """End the task's incarnation with `task_error`, and stop its process if there is one."""
    creating = task.state is TaskState.CREATING
    turn, task.turn = task.turn, None
    effects = fall_silent(world, task, error)
    task.live = False
    task.last_error = error.message
    if world.active == task.id:
        world.active = None
    if world.switching == task.id:
        world.switching = None
    world.move(task, Trigger.DIED)
    if task.opener is not None:
        effects.append(Refuse(task.opener.call, error))
        task.opener = None
    if creating:
        effects.append(_bootstrap_failed(world, task, error))
    event = TaskError(
        code=error.code.value,
        message=error.message,
        retryable=error.retryable,
        incarnation=task.incarnation,
        turn_id=turn.turn_id if turn else None,
        details=error.details,
    )
    effects.append(Publish(task.id, event))
    if task.running:
        effects.append(StopChild(task.id, task.incarnation))
    return effects


def fall_silent(world: World, task: Task, error: TaskdError) -> list[Effect]:
    """Refuse what waits for the agent, close its questions, forget its timers."""
    effects: list[Effect] = [ClearTimer(timer(kind, task)) for kind in _TIMERS]
    for tag, command in task.commands.items():
        effects.append(ClearTimer(timer("answer", task, str(tag))))
        if command.call is not None:
            effects.append(Refuse(command.call, error))
    task.commands.clear()
    effects += close_questions(task)
    return effects


def process_dead(task: Task, gone: ChildGone) -> TaskdError:
    """The error that tells how a process ended."""
    how = f"signal {gone.signal}" if gone.signal is not None else f"exit code {gone.code}"
    tail = gone.stderr_tail.strip().rpartition("\n")[2][:200]
    code = Code.TASK_BOOTSTRAP_FAILED if task.state is TaskState.CREATING else Code.PI_PROCESS_DEAD
    return TaskdError(
        code,
        f"the agent of task {task.id} ended ({how}){': ' + tail if tail else ''}; create_or_open_task recovers it",
        details={
            "taskId": task.id,
            "exitCode": gone.code,
            "signal": gone.signal,
            "stderrTail": gone.stderr_tail,
        },
    )


def _bootstrap_failed(world: World, task: Task, error: TaskdError) -> Effect:
    task.bootstrap = Bootstrap.ERRORED
    task.bootstrap_error = error.message
    task.bootstrap_at = world.wall
    event = TaskBootstrapState(
        status=Bootstrap.ERRORED.value, error=error.message, incarnation=task.incarnation, mode=task.mode.value
    )
    return Publish(task.id, event)
