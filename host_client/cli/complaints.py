"""What went wrong, as an exit code, as JSON, and as words that say what to do next.

0 done   1 the guest refused, or the turn failed   2 wrong usage   3 no connection   4 no answer in time
130 interrupted
"""

import os
import re
from typing import Any, Final

import click

from host_client.cli.escapes import one_line
from host_client.cli.screen import err
from host_client.cli.session import NO_CONNECTION, REFUSED, TIMED_OUT, Guest, tell_json
from host_client.errors import CallTimeout, ConnectionLost, DialFailed, GuestError, HostError, SwitchTimeout, TurnFailed

_HINTS: Final = {
    "NOT_DRIVER": "another host drives this guest; --take-driver takes over from it",
    "UNAUTHENTICATED": "give the guest's token with --token-file, or in TASKD_TOKEN",
    "TASK_NOT_FOUND": "`taskctl state` lists the tasks, `taskctl open TASK` makes one",
    "QUESTION_NOT_FOUND": "`taskctl answer` lists the open questions",
    "PI_PROCESS_DEAD": "`taskctl open TASK` recovers it at its last completed turn",
    "TASK_BOOTSTRAP_FAILED": "`taskctl state TASK` has the agent's own words; `taskctl open TASK` tries again",
    "WORKSPACE_POLICY_VIOLATION": "the daemon's setting workspace_root says below which folder agents may work",
}
_START: Final = (
    "start one:     taskd serve &",
    "or name one:   taskctl --address ADDRESS …, or set TASKD_ADDRESS",
    "or just look:  taskctl demo",
)
_INDENT: Final = " " * len("taskctl: ")
_RECOVER: Final = frozenset({"PI_PROCESS_DEAD", "TASK_BOOTSTRAP_FAILED"})


def explain(guest: Guest, error: HostError, hint: str = "") -> int:
    """Tell what went wrong and what to do next, in the caller's words if it knows better; give the exit code."""
    hints = [hint] if hint else _hints(guest, error)
    if guest.as_json:
        tell_json({"error": _facts(error) | {"hint": "; ".join(re.sub(r"\s+", " ", hint) for hint in hints)}})
    else:
        complain(_sentence(guest, error), *hints)
    return _exit_code(error)


def complain(message: str, *hints: str) -> None:
    """Write a complaint to standard error."""
    screen = err()
    for number, line in enumerate(screen.wrap(one_line(message), len(_INDENT))):
        screen.line(_INDENT + line if number else f"taskctl: {line}", "red")
    for hint in hints:
        for line in screen.wrap(hint, len(_INDENT)):
            screen.line(_INDENT + line)


def explain_usage(error: click.ClickException, *, as_json: bool) -> int:
    """The same for what click found wrong with the command line."""
    if as_json:
        tell_json({"error": _fact("USAGE", error.format_message())})
    else:
        context = getattr(error, "ctx", None)
        hints = [f"`{context.command_path} --help` says how"] if context is not None else []
        complain(error.format_message(), *hints)
    return error.exit_code


def explain_fault(guest: Guest, error: OSError) -> int:
    """The same for what the operating system has against a file of this host."""
    message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if guest.as_json:
        tell_json({"error": _fact("OS_ERROR", message)})
    else:
        complain(message)
    return REFUSED


def first_host_error(error: BaseException) -> HostError:
    """Find what went wrong in the group that a task group made of it; a fault of ours is raised as it is."""
    if isinstance(error, HostError):
        return error
    if isinstance(error, BaseExceptionGroup):
        found = error.subgroup(HostError)
        if found is not None:
            return first_host_error(found.exceptions[0])
    raise error


def _exit_code(error: HostError) -> int:
    if isinstance(error, DialFailed | ConnectionLost):
        return NO_CONNECTION
    return TIMED_OUT if isinstance(error, CallTimeout | SwitchTimeout) else REFUSED


def _fact(code: str, message: str, *, retryable: bool = False, details: Any = None) -> dict[str, Any]:
    return {"code": code, "message": message, "retryable": retryable, "details": details or {}, "hint": ""}


def _facts(error: HostError) -> dict[str, Any]:
    """The error as the wire shows errors; those of our own have codes of the same form."""
    if isinstance(error, GuestError):
        return _fact(error.code, error.message, retryable=error.retryable, details=error.details)
    code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).upper()
    maybe_done = getattr(error, "maybe_done", None)
    details = {} if maybe_done is None else {"maybeDone": maybe_done}
    retryable = not getattr(error, "permanent", False) and not maybe_done
    return _fact(str(getattr(error, "code", code)), str(error), retryable=retryable, details=details)


def _sentence(guest: Guest, error: HostError) -> str:
    if not isinstance(error, DialFailed):
        return str(error)
    if _is_nobody_there(guest, error):
        return f"no taskd listens at {' or '.join(_places())}"
    return f"no connection to {error.address}: {error.reason}"


def _is_nobody_there(guest: Guest, error: DialFailed) -> bool:
    return guest.address is None and error.reason in _NOBODY and error.address in _places()


def _places() -> list[str]:
    from taskd.model.address import client_sockets

    return [str(place) for place in client_sockets(os.environ, os.getuid(), os.environ.get("HOME", "/"))]


def _hints(guest: Guest, error: HostError) -> list[str]:
    if isinstance(error, DialFailed):
        return _dial_hints(guest, error)
    if not isinstance(error, GuestError):
        return []
    if error.code == "TASK_NOT_READY" and not isinstance(error, TurnFailed):
        return _not_ready(error)
    hint = _HINTS.get(error.code)
    if hint is None:
        return []
    task = _task_of(error)
    return [hint.replace("TASK`", f"{task}`") if task and error.code in _RECOVER else hint]


def _dial_hints(guest: Guest, error: DialFailed) -> list[str]:
    if _is_nobody_there(guest, error):
        return list(_START)
    # A guest that was reached and said no gives its reason with the code in front.
    hint = _HINTS.get(error.reason.partition(":")[0], error.hint)
    return [hint] if hint else []


_NOBODY: Final = ("No such file or directory", "Connection refused")
"""What the kernel says of a socket that nobody listens on."""


def _not_ready(error: GuestError) -> list[str]:
    task, state = _task_of(error), error.details.get("state")
    if task is None:
        return ["`taskctl open TASK` makes a task and switches to it; `taskctl state` lists those that are there"]
    if state in ("ready", "active", "idle"):
        return [
            f"{task} is open: `taskctl switch {task}` makes it the active one, `taskctl stop {task}` ends its agent"
        ]
    if state in ("stopped", "errored"):
        return [f"`taskctl open {task}` {'resumes' if state == 'stopped' else 'recovers'} it"]
    return []


def _task_of(error: GuestError) -> str | None:
    task = error.details.get("taskId") or getattr(error, "task_id", None)
    return task if isinstance(task, str) else None
