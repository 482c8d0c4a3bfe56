"""Choosing the active task.

The task that was active is idle from the moment of the acknowledgement, so that a prompt sent too early is refused
instead of going to the wrong task. `task_ready` follows at once when the agent spoke lately (limit
probe_fresh_seconds); otherwise it is asked for a sign of life first, and given up with SWITCH_TIMEOUT when none
comes. A later switch supersedes one that still waits.
"""

from taskd.core.dying import give_up
from taskd.core.effects import ClearTimer, Effect, Publish, Reply, SetTimer, Tell
from taskd.core.lifecycle import Trigger
from taskd.core.stimuli import Origin
from taskd.core.world import Task, World, timer
from taskd.model.agent import Probe
from taskd.model.calls import SwitchResult, SwitchTask
from taskd.model.errors import Code, TaskdError
from taskd.model.events import TaskReady, TaskSwitchStarted


def switch_task(world: World, origin: Origin, params: SwitchTask) -> list[Effect]:
    """Acknowledge, and make the task active as soon as its agent is known to live."""
    task = world.find(params.task_id)
    world.permit(task, Trigger.SWITCH)
    effects: list[Effect] = [
        Reply(origin.call, SwitchResult(status="switching", task_id=task.id)),
        Publish(task.id, TaskSwitchStarted()),
    ]
    effects += _supersede(world)
    if world.active != task.id:
        world.deselect()
    if world.active == task.id or world.mono - task.heard_at <= world.limits.probe_fresh_seconds:
        return effects + _select(world, task)
    world.switching = task.id
    return [
        *effects,
        SetTimer(timer("switch", task), world.limits.switch_probe_seconds),
        Tell(task.id, task.incarnation, Probe()),
    ]


def heard(world: World, task: Task) -> list[Effect]:
    """The agent gave a sign of life: a switch that waits for it ends well."""
    if world.switching != task.id or task.stopping:
        return []
    world.switching = None
    return [ClearTimer(timer("switch", task)), *_select(world, task)]


def switch_timeout(world: World, task: Task) -> list[Effect]:
    """No sign of life: the agent is wedged, and given up."""
    if world.switching != task.id:
        return []
    seconds = world.limits.switch_probe_seconds
    error = TaskdError(
        Code.SWITCH_TIMEOUT,
        f"the agent of task {task.id} gave no sign of life within {seconds:g} s; create_or_open_task restarts it",
        details={"taskId": task.id},
    )
    return give_up(world, task, error)


def _supersede(world: World) -> list[Effect]:
    if world.switching is None:
        return []
    waiting, world.switching = world.tasks[world.switching], None
    return [ClearTimer(timer("switch", waiting))]


def _select(world: World, task: Task) -> list[Effect]:
    if world.move(task, Trigger.PROVEN):
        world.active = task.id
    return [Publish(task.id, TaskReady(incarnation=task.incarnation))]
