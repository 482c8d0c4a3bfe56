"""Identifiers: what a legal one looks like, and how a new one is made.

Entropy is passed in by the caller (a guest may be a clone of another, so the edge decides where randomness comes from);
this module only gives it a form.
"""

import re
from typing import Final, NewType

from taskd.model.errors import Code, TaskdError

TaskId = NewType("TaskId", str)
TurnId = NewType("TurnId", str)
CallId = NewType("CallId", int)
"""One pending call of one channel; minted by the daemon, never seen on the wire."""
ChannelId = NewType("ChannelId", int)

MAX_TASK_ID_LENGTH: Final = 128
"""A task id is a folder name; 128 leaves room for suffixes below the 255 bytes of Linux file systems."""

MAX_OPAQUE_ID_LENGTH: Final = 256
"""Upper bound for ids that hosts choose and we only echo (prompt ids, request ids)."""

_TASK_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")

RESERVED_TASK_IDS: Final = frozenset({"sessions"})
"""Names that hosts of the replaced system use for the folder of all tasks; a task of that name would shadow it."""


def check_task_id(value: object) -> TaskId:
    """Return `value` as a task id.

    Legal: 1 to 128 ASCII letters, digits, `.`, `_` and `-`, the first a letter or digit, and not a reserved name.
    So `.`, `..`, path separators, control bytes and NUL can never reach a path.

    Raises:
        TaskdError: `INVALID_PARAMS`, with the rule that was broken.
    """
    if not isinstance(value, str) or not value:
        raise _bad_task_id("taskId must be a non-empty string")
    if len(value) > MAX_TASK_ID_LENGTH:
        raise _bad_task_id(f"taskId is longer than {MAX_TASK_ID_LENGTH} characters")
    if not _TASK_ID.match(value):
        raise _bad_task_id("taskId may hold only A-Z a-z 0-9 . _ - and must start with a letter or digit")
    if value in RESERVED_TASK_IDS:
        raise _bad_task_id(f"taskId {value!r} is reserved")
    return TaskId(value)


def check_opaque_id(value: str, field: str) -> str:
    """Return an id that a host chose, if it is short and printable.

    Raises:
        TaskdError: `INVALID_PARAMS` naming `field`.
    """
    if not value or len(value) > MAX_OPAQUE_ID_LENGTH or not value.isprintable():
        raise TaskdError(
            Code.INVALID_PARAMS,
            f"{field} must be 1 to {MAX_OPAQUE_ID_LENGTH} printable characters",
            details={"field": field},
        )
    return value


def mint(prefix: str, entropy: bytes) -> str:
    """Make an id such as `turn_9f86d081884c7d65` from at least 8 bytes of entropy."""
    return f"{prefix}_{entropy[:8].hex()}"


def _bad_task_id(reason: str) -> TaskdError:
    return TaskdError(Code.INVALID_PARAMS, reason, details={"field": "taskId"})
