"""What hosts see of the machine: plain answers, put together on demand."""

from taskd.core.world import OpenQuestion, Task, World
from taskd.model.calls import QuestionView, StateResult, TaskView
from taskd.model.states import TaskState


def state_view(world: World, seq: int) -> StateResult:
    """All tasks, oldest first."""
    tasks = (task_view(world, task) for task in world.tasks.values() if task.state is not TaskState.MISSING)
    return StateResult(active_task_id=world.active, tasks=tuple(tasks), seq=seq)


def task_view(world: World, task: Task) -> TaskView:
    """One task. The paths follow from the layout of the state folder (design page, section 5)."""
    folder = f"{world.state_dir}/{task.id}"
    record = task.record
    return TaskView(
        task_id=task.id,
        state=task.state.value,
        agent=record.agent,
        incarnation=task.incarnation,
        prompt_in_flight=task.turn is not None,
        turn_id=task.turn.turn_id if task.turn else None,
        turn_count=task.turn_count,
        usage=task.usage,
        provider=record.provider,
        model=record.model,
        thinking_level=record.thinking_level,
        working_folder=record.working_folder,
        working_folder_relative=record.working_folder_relative,
        current_cwd=task.cwd,
        session_file=f"{folder}/session.json",
        task_dir=folder,
        work_dir=f"{folder}/work",
        outputs_dir=f"{folder}/outputs",
        uploads_dir=f"{folder}/uploads",
        bootstrap_status=task.bootstrap.value,
        bootstrap_error=task.bootstrap_error,
        bootstrap_updated_at=task.bootstrap_at,
        abilities=task.abilities,
        questions=tuple(_question(task, question) for question in task.questions.values()),
        last_error=task.last_error,
    )


def _question(task: Task, question: OpenQuestion) -> QuestionView:
    asked = question.asked
    return QuestionView(
        request_id=asked.request_id,
        task_id=task.id,
        turn_id=question.turn_id,
        kind=asked.kind,
        title=asked.title,
        message=asked.message,
        options=asked.options,
        asked_at=question.asked_at,
        timeout_ms=asked.timeout_ms,
    )
