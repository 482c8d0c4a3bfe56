"""What a guest says, as structs, for tests of the parts that do no I/O."""

from taskd.model.agent import Usage
from taskd.model.calls import StateResult, TaskView


def task_view(task_id, **changes):
    folder = f"/state/{task_id}"
    fields = {
        "task_id": task_id,
        "state": "ready",
        "agent": "pi",
        "incarnation": 1,
        "prompt_in_flight": False,
        "turn_id": None,
        "turn_count": 0,
        "usage": Usage(),
        "provider": None,
        "model": None,
        "thinking_level": None,
        "working_folder": None,
        "working_folder_relative": None,
        "current_cwd": None,
        "session_file": f"{folder}/session.json",
        "task_dir": folder,
        "work_dir": f"{folder}/work",
        "outputs_dir": f"{folder}/outputs",
        "uploads_dir": f"{folder}/uploads",
        "bootstrap_status": "ready",
        "bootstrap_error": None,
        "bootstrap_updated_at": None,
        "abilities": None,
        "questions": (),
        "last_error": None,
    }
    return TaskView(**(fields | changes))


def state_of(*views, active=None, seq=10):
    return StateResult(active_task_id=active, tasks=views, seq=seq)
