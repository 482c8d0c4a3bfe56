"""Ending a task's agent in order: a running turn by abort first, then the process, then the words `task_stopped`."""

from taskd.core import opening
from taskd.core.dying import fall_silent, give_up, process_dead
from taskd.core.effects import ClearTimer, Effect, Publish, Quit, Reply, SetTimer, StopChild, Tell
from taskd.core.lifecycle import Trigger
from taskd.core.opening import resume_pending_open
from taskd.core.questions import cancel_questions
from taskd.core.stimuli import ChildGone, OpenFailed, Origin, ShutdownAsked, Timer
from taskd.core.turns import end_turn
from taskd.core.world import Task, World, log, timer
from taskd.model.agent import Abort
from taskd.model.calls import Done, Shutdown, StopResult, StopTask
from taskd.model.errors import Code, TaskdError
from taskd.model.events import TaskStopped
from taskd.model.states import StopReason, TaskState

SHUTDOWN = Timer("shutdown")


def stop_task(world: World, origin: Origin, params: StopTask) -> list[Effect]:
    """Stop a task; the answer comes when its process is gone."""
    task = world.find(params.task_id)
    world.permit(task, Trigger.STOP)
    if task.state is TaskState.STOPPED:
        return [Reply(origin.call, StopResult(task_id=task.id, state=task.state.value))]
    task.stop_calls.append(origin)
    return begin_stop(world, task, "requested")


def begin_stop(world: World, task: Task, reason: str) -> list[Effect]:
    """Start the stop of a task, unless it is under way."""
    if task.stopping:
        return []
    task.stopping = True
    task.stop_reason = reason
    if world.active == task.id:
        world.deselect()
    if world.switching == task.id:
        world.switching = None
    if not task.running:
        return _finish(world, task) if task.turn is None else []
    if task.turn is None or not task.live:
        return [StopChild(task.id, task.incarnation)]
    if task.turn.saving:
        return []
    task.turn.aborting = True
    return [
        SetTimer(timer("stop", task), world.limits.stop_abort_seconds),
        *cancel_questions(task),
        Tell(task.id, task.incarnation, Abort()),
    ]


def stop_abort_timeout(world: World, task: Task) -> list[Effect]:
    """The turn did not end by abort in time: the ladder ends it."""
    return [StopChild(task.id, task.incarnation)] if task.stopping and task.running else []


def child_gone(world: World, stimulus: ChildGone) -> list[Effect]:
    """The process has ended, asked or not."""
    task = world.tasks.get(stimulus.task)
    if task is None or not task.running:
        return []
    if stimulus.incarnation != task.incarnation or not task.live or task.stopping:
        return _gone_as_wanted(world, task)
    task.running = False
    if task.turn is not None and task.turn.saving:
        task.died = stimulus
        return []
    return give_up(world, task, process_dead(task, stimulus))


def open_failed(world: World, stimulus: OpenFailed) -> list[Effect]:
    """There will be no process: a failed open, unless it was given up before."""
    task = world.tasks.get(stimulus.task)
    if task is None or not task.running:
        return []
    if stimulus.incarnation != task.incarnation or not task.live:
        return _gone_as_wanted(world, task)
    return opening.open_failed(world, stimulus)


def after_save(world: World, task: Task) -> list[Effect]:
    """Go on with what waited for a turn to be on disk."""
    if task.stopping:
        return [StopChild(task.id, task.incarnation)] if task.running else _finish(world, task)
    if task.died is not None:
        died, task.died = task.died, None
        return give_up(world, task, process_dead(task, died))
    return []


def shutdown(world: World, origin: Origin, params: Shutdown) -> list[Effect]:
    """A host asks the daemon to stop."""
    return [Reply(origin.call, Done()), *begin_shutdown(world, params.reason or "asked by a host")]


def shutdown_asked(world: World, stimulus: ShutdownAsked) -> list[Effect]:
    """The process was told to stop."""
    return begin_shutdown(world, stimulus.reason)


def begin_shutdown(world: World, reason: str) -> list[Effect]:
    """Stop every task, then leave; leave anyway when the time is up."""
    if world.quitting is not None:
        return []
    world.quitting = reason
    effects: list[Effect] = [
        log("info", "shutting down", reason=reason),
        SetTimer(SHUTDOWN, world.limits.shutdown_seconds),
    ]
    for task in list(world.tasks.values()):
        if task.state is TaskState.CREATING:
            effects += give_up(world, task, TaskdError(Code.SHUTTING_DOWN, "the daemon is stopping"))
        elif task.state is not TaskState.STOPPED and task.state is not TaskState.ERRORED:
            effects += begin_stop(world, task, "shutdown")
    return effects


def quit_if_done(world: World) -> list[Effect]:
    """Leave, once no process and no unsaved turn is left."""
    if world.quitting is None or any(task.running or task.turn for task in world.tasks.values()):
        return []
    return [ClearTimer(SHUTDOWN), Quit()]


def shutdown_timeout(world: World) -> list[Effect]:
    """Order has had its time."""
    left = [task.id for task in world.tasks.values() if task.running]
    return [log("warning", "shutdown took too long", left=left), Quit()]


def _gone_as_wanted(world: World, task: Task) -> list[Effect]:
    """The process that a stop, or an open in waiting, was waiting for has ended."""
    task.running = False
    if not task.stopping:
        return resume_pending_open(world, task)
    if task.turn is None:
        return _finish(world, task)
    return [] if task.turn.saving else end_turn(world, task, StopReason.ABORTED, "")


def _finish(world: World, task: Task) -> list[Effect]:
    effects = fall_silent(world, task, TaskdError(Code.TASK_NOT_READY, f"task {task.id} was stopped"))
    task.live = False
    task.stopping = False
    task.died = None
    world.move(task, Trigger.GONE)
    calls, task.stop_calls = task.stop_calls, []
    replies: list[Effect] = [
        Reply(origin.call, StopResult(task_id=task.id, state=task.state.value)) for origin in calls
    ]
    event = Publish(task.id, TaskStopped(reason=task.stop_reason))
    first = any(origin.stop_event_first for origin in calls)
    return [*effects, event, *replies] if first else [*effects, *replies, event]
