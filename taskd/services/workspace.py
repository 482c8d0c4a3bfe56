"""Where an agent may work: below the workspace root, or in its task's own folder, and nowhere else.

Every folder that a host names is resolved component by component without following links (see `disk/beneath.py`); the
roots themselves come from the settings and the daemon, and may be links. It never falls back silently: a folder that
cannot be had is an error, since an agent in the wrong place does its work there.

RACE: the result is a path, and whoever may write in the workspace can put a link in it before the agent is started.
The agent gains nothing by that: it runs as the same user and may go to that place anyway. The daemon itself never opens
files by this path.
"""

import os
from typing import Final

from taskd.disk.beneath import PathRefused, check_relative, open_dir_beneath
from taskd.model.errors import Code, TaskdError

_LOOK: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def resolve_cwd(
    working_folder: str | None,
    working_folder_relative: str | None,
    workspace_root: str | None,
    task_work_dir: str,
    task_dir: str,
) -> str:
    """Give the absolute folder that a task's agent starts in.

    `working_folder_relative` wins, `""` and `"."` being the workspace root itself; then the absolute `working_folder`;
    then the task's own `work/`, which need not exist yet.

    Raises:
        TaskdError: `WORKSPACE_POLICY_VIOLATION` with `details: {field, reason}`; `reason` is a word of `beneath.Reason`
            or one of no_workspace_root, workspace_root_missing, not_absolute, outside.
    """
    if working_folder_relative is not None:
        return _below_root(working_folder_relative, workspace_root)
    if working_folder is not None:
        return _allowed(working_folder, workspace_root, task_work_dir, task_dir)
    return task_work_dir


def _below_root(relative: str, workspace_root: str | None) -> str:
    field = "workingFolderRelative"
    if not workspace_root:
        raise _violation(field, "no_workspace_root", "no workspace root is configured; set workspace_root")
    return _look(field, workspace_root, "" if relative == "." else relative)


def _allowed(folder: str, workspace_root: str | None, task_work_dir: str, task_dir: str) -> str:
    field = "workingFolder"
    if folder == task_work_dir:
        return folder
    if not folder.startswith("/"):
        raise _violation(field, "not_absolute", "the folder must be absolute; use workingFolderRelative for others")
    if folder != "/":
        _check(field, folder[1:])
    for root in _roots(workspace_root, task_dir):
        if folder == root or folder.startswith(root.rstrip("/") + "/"):
            return _look(field, root, folder[len(root) :].removeprefix("/"))
    hint = "lies neither below the workspace root nor in the task's own folder"
    raise _violation(field, "outside", f"the folder {hint}; use workingFolderRelative, or set workspace_root")


def _roots(workspace_root: str | None, task_dir: str) -> list[str]:
    """Give the roots by the names that hosts may know them by; a configured root may be a link."""
    if not workspace_root:
        return [task_dir]
    return [os.path.abspath(workspace_root), os.path.realpath(workspace_root), task_dir]


def _look(field: str, root: str, relative: str) -> str:
    """Check that the folder is there, reached without a link; gives its path."""
    try:
        root_fd = os.open(root, _LOOK)
    except OSError as fault:
        raise _violation(field, "workspace_root_missing", f"{root} cannot be opened: {fault.strerror}") from None
    try:
        if not relative:
            return os.path.abspath(root)
        found = os.path.join(os.path.abspath(root), relative)
        _check(field, found[1:])
        os.close(open_dir_beneath(root_fd, relative, _LOOK))
        return found
    except PathRefused as refused:
        raise _refused(field, refused) from None
    except OSError as fault:
        raise _violation(field, "denied", f"the folder cannot be opened: {fault.strerror}") from None
    finally:
        os.close(root_fd)


def _check(field: str, relative: str) -> None:
    """Refuse what no folder can be called, and a whole path that the kernel would not take."""
    try:
        check_relative(relative)
    except PathRefused as refused:
        raise _refused(field, refused) from None


def _refused(field: str, refused: PathRefused) -> TaskdError:
    return _violation(field, refused.reason, f"the folder is refused: {refused.reason}")


def _violation(field: str, reason: str, message: str) -> TaskdError:
    return TaskdError(Code.WORKSPACE_POLICY_VIOLATION, message, details={"field": field, "reason": str(reason)})
