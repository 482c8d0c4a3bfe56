"""Opening a task: from missing, stopped or errored to ready, or to errored with the reason."""

from msgspec.structs import replace

from taskd.core.dying import give_up
from taskd.core.effects import ClearTimer, Effect, Open, Publish, Reply, SaveRecord, SetTimer
from taskd.core.lifecycle import Trigger
from taskd.core.stimuli import Loaded, OpenFailed, Origin, Prepared
from taskd.core.world import Task, World, refuse, timer
from taskd.model.agent import Abilities, Ready, Refused
from taskd.model.calls import CreateOrOpenTask, OpenResult
from taskd.model.errors import Code, TaskdError
from taskd.model.events import TaskBootstrapState
from taskd.model.ids import TaskId, check_task_id
from taskd.model.records import Known, TaskRecord
from taskd.model.states import Bootstrap, OpenMode, TaskState

_MODES = {
    TaskState.MISSING: OpenMode.CREATED,
    TaskState.STOPPED: OpenMode.RESUMED,
    TaskState.ERRORED: OpenMode.RECOVERED,
}


def loaded(world: World, stimulus: Loaded) -> list[Effect]:
    """Know every task on disk again, as stopped."""
    for known in stimulus.known:
        _remember(world, known)
    return []


def _remember(world: World, known: Known) -> None:
    task = Task(known.record)
    task.state = TaskState.STOPPED
    task.turn_count = known.turn_count
    task.usage = known.usage
    task.last_error = known.problem or None
    world.tasks[task.id] = task


def open_task(world: World, origin: Origin, params: CreateOrOpenTask) -> list[Effect]:
    """Begin to open a task; the answer comes when its agent has answered."""
    task_id = check_task_id(params.task_id)
    task = world.tasks.get(task_id) or _new(world, task_id)
    world.permit(task, Trigger.OPEN)
    record = _wanted(world, task, params)
    task.mode = _MODES[task.state]
    task.record_before = task.record
    task.record = record
    task.opener = origin
    world.tasks[task_id] = task
    world.move(task, Trigger.OPEN)
    return _begin(world, task)


def resume_pending_open(world: World, task: Task) -> list[Effect]:
    """Go on with an open that waited for the process before it to end."""
    return _spawn(world, task) if task.state is TaskState.CREATING and not task.running else []


def prepared(world: World, stimulus: Prepared) -> list[Effect]:
    """Take note of what the store found."""
    task = world.tasks[stimulus.task]
    if task.incarnation != stimulus.incarnation:
        return []
    task.cwd = stimulus.opened.cwd
    task.turn_count = stimulus.opened.turn_count
    task.usage = stimulus.opened.usage
    task.dropped = stimulus.opened.dropped
    return []


def agent_ready(world: World, task: Task, said: Ready) -> list[Effect]:
    """The handshake is done: the task is ready."""
    if not world.move(task, Trigger.ANSWERED):
        return []
    task.abilities = said.abilities
    task.heard_at = world.mono
    _note(world, task, said)
    _bootstrap(world, task, Bootstrap.READY)
    opener, task.opener = task.opener, None
    effects: list[Effect] = [ClearTimer(timer("bootstrap", task)), SaveRecord(task.record)]
    if opener is not None:
        effects.append(Reply(opener.call, _result(task, said.abilities)))
    effects.append(Publish(task.id, _event(task)))
    return effects


def agent_refused(world: World, task: Task, said: Refused) -> list[Effect]:
    """The handshake failed: the process is of no use."""
    return give_up(world, task, bootstrap_error(task, said.message))


def open_failed(world: World, stimulus: OpenFailed) -> list[Effect]:
    """The task could not be prepared or spawned, and was still wanted: there is no process."""
    task = world.tasks[stimulus.task]
    task.running = False
    effects = give_up(world, task, stimulus.error)
    if stimulus.error.code is Code.WORKSPACE_POLICY_VIOLATION:
        task.record = task.record_before
        if task.mode is OpenMode.CREATED:
            # Nothing was made on disk for it, so it may be asked for again as if never asked.
            del world.tasks[task.id]
    return effects


def bootstrap_timeout(world: World, task: Task) -> list[Effect]:
    """The agent has not answered in time."""
    if task.state is not TaskState.CREATING:
        return []
    seconds = world.limits.bootstrap_seconds
    return give_up(world, task, bootstrap_error(task, f"no answer within {seconds:g} s (limit bootstrap_seconds)"))


def bootstrap_error(task: Task, why: str, **details: object) -> TaskdError:
    """The error of a task whose agent could not be started."""
    return TaskdError(
        Code.TASK_BOOTSTRAP_FAILED,
        f"agent {task.record.agent!r} of task {task.id} did not start: {why}",
        details={"taskId": task.id, "agent": task.record.agent, **details},
    )


def _new(world: World, task_id: TaskId) -> Task:
    if len(world.tasks) >= world.limits.tasks:
        raise TaskdError(Code.OVERLOADED, f"{world.limits.tasks} tasks are known (limit tasks); remove some")
    return Task(TaskRecord(task_id=task_id, agent=world.default_agent, created_at=world.wall))


def _wanted(world: World, task: Task, params: CreateOrOpenTask) -> TaskRecord:
    agent = params.agent or task.record.agent
    if agent not in world.agents:
        known = ", ".join(sorted(world.agents))
        raise TaskdError(
            Code.INVALID_PARAMS,
            f"no agent {agent!r} in the settings; there is {known}",
            details={"field": "agent", "known": sorted(world.agents)},
        )
    if agent != task.record.agent and task.turn_count:
        raise TaskdError(
            Code.INVALID_PARAMS,
            f"task {task.id} has a session of agent {task.record.agent!r}; another agent cannot resume it",
            details={"field": "agent", "agent": task.record.agent},
        )
    before = task.record
    if agent != before.agent:
        # What the other agent calls its models means nothing to this one.
        before = replace(before, provider=None, model=None, thinking_level=None)
    given = {
        name: value for name in ("provider", "model", "thinking_level") if (value := getattr(params, name)) is not None
    }
    return replace(before, agent=agent, **given, **_folders(params))


def _folders(params: CreateOrOpenTask) -> dict[str, str | None]:
    """Whoever names a folder replaces what was named before; `""` stands for the task's own."""
    if params.working_folder is None and params.working_folder_relative is None:
        return {}
    return {
        "working_folder": params.working_folder or None,
        "working_folder_relative": params.working_folder_relative,
    }


def _begin(world: World, task: Task) -> list[Effect]:
    task.last_error = None
    task.died = None
    _bootstrap(world, task, Bootstrap.PENDING)
    task.incarnation += 1
    effects: list[Effect] = [Publish(task.id, _event(task))]
    return effects if task.running else effects + _spawn(world, task)


def _spawn(world: World, task: Task) -> list[Effect]:
    task.live = True
    task.running = True
    task.noises = 0
    task.cwd = None
    task.dropped = None
    task.abilities = None
    return [
        SetTimer(timer("bootstrap", task), world.limits.bootstrap_seconds),
        Open(task.id, task.incarnation, task.record),
    ]


def _note(world: World, task: Task, said: Ready) -> None:
    if said.model is not None:
        world.note_model(task, said.model)
    if said.thinking_level is not None:
        task.record = replace(task.record, thinking_level=said.thinking_level)


def _bootstrap(world: World, task: Task, status: Bootstrap) -> None:
    task.bootstrap = status
    task.bootstrap_error = None
    task.bootstrap_at = world.wall


def _event(task: Task) -> TaskBootstrapState:
    return TaskBootstrapState(
        status=task.bootstrap.value,
        incarnation=task.incarnation,
        mode=task.mode.value,
        dropped=task.dropped if task.bootstrap is Bootstrap.READY else None,
    )


def _result(task: Task, abilities: Abilities) -> OpenResult:
    return OpenResult(
        task_id=task.id,
        state=task.state.value,
        mode=task.mode.value,
        agent=task.record.agent,
        incarnation=task.incarnation,
        turn_count=task.turn_count,
        abilities=abilities,
        bootstrap_status=task.bootstrap.value,
        resumable=abilities.resume,
    )


__all__ = [
    "agent_ready",
    "agent_refused",
    "bootstrap_error",
    "bootstrap_timeout",
    "loaded",
    "open_failed",
    "open_task",
    "prepared",
    "refuse",
    "resume_pending_open",
]
