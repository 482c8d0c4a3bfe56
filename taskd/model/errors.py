"""One family of errors, one table of codes.

A `TaskdError` is what a host may be told: a stable code, a sentence that says what to do next, whether the same request
may be tried again, and details. The table below is the only place that knows numbers and retryability; `spec/errors.md`
is generated from it.
"""

from enum import StrEnum
from typing import Any, Final, NamedTuple


class Code(StrEnum):
    """Stable error codes; the wire shows their values."""

    PARSE_ERROR = "PARSE_ERROR"
    INVALID_REQUEST = "INVALID_REQUEST"
    METHOD_NOT_FOUND = "METHOD_NOT_FOUND"
    INVALID_PARAMS = "INVALID_PARAMS"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    TASK_NOT_FOUND = "TASK_NOT_FOUND"
    TASK_NOT_READY = "TASK_NOT_READY"
    SWITCH_TIMEOUT = "SWITCH_TIMEOUT"
    PI_PROCESS_DEAD = "PI_PROCESS_DEAD"
    TASK_BOOTSTRAP_FAILED = "TASK_BOOTSTRAP_FAILED"
    UNSUPPORTED = "UNSUPPORTED"
    NOT_DRIVER = "NOT_DRIVER"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    QUESTION_NOT_FOUND = "QUESTION_NOT_FOUND"
    LINE_TOO_LONG = "LINE_TOO_LONG"
    OVERLOADED = "OVERLOADED"
    AGENT_REFUSED = "AGENT_REFUSED"
    AGENT_TIMEOUT = "AGENT_TIMEOUT"
    SESSION_SAVE_FAILED = "SESSION_SAVE_FAILED"
    SESSION_CORRUPT = "SESSION_CORRUPT"
    WORKSPACE_POLICY_VIOLATION = "WORKSPACE_POLICY_VIOLATION"
    SHUTTING_DOWN = "SHUTTING_DOWN"


class ErrorInfo(NamedTuple):
    """What one code means."""

    number: int
    """JSON-RPC error number; -32768..-32600 are the standard's, -32000..-32099 ours."""
    retryable: bool
    """The same request may succeed later without a change; such an answer is never cached."""
    meaning: str


ERRORS: Final[dict[Code, ErrorInfo]] = {
    Code.PARSE_ERROR: ErrorInfo(-32700, False, "The line is not JSON in UTF-8."),
    Code.INVALID_REQUEST: ErrorInfo(
        -32600, False, "The line is JSON but no request, or its id was used before with another body."
    ),
    Code.METHOD_NOT_FOUND: ErrorInfo(-32601, False, "No method of that name."),
    Code.INVALID_PARAMS: ErrorInfo(-32602, False, "A parameter is missing, of the wrong type, or not allowed."),
    Code.INTERNAL_ERROR: ErrorInfo(-32603, False, "A fault of the daemon; it is logged with the cause."),
    Code.TASK_NOT_FOUND: ErrorInfo(-32001, False, "No such task here; create it with create_or_open_task."),
    Code.TASK_NOT_READY: ErrorInfo(-32002, True, "The task's state does not allow the call; nothing was changed."),
    Code.SWITCH_TIMEOUT: ErrorInfo(-32003, True, "The task did not become ready within the switch's time limit."),
    Code.PI_PROCESS_DEAD: ErrorInfo(-32004, True, "The task's agent process ended; create_or_open_task recovers it."),
    Code.TASK_BOOTSTRAP_FAILED: ErrorInfo(-32005, True, "The agent could not be started or did not answer."),
    Code.UNSUPPORTED: ErrorInfo(-32006, False, "The task's agent cannot do this; nothing was sent to it."),
    Code.NOT_DRIVER: ErrorInfo(-32007, True, "Another channel holds the driver lease; observe, or take_driver."),
    Code.UNAUTHENTICATED: ErrorInfo(-32008, False, "The channel has not shown a valid token."),
    Code.FORBIDDEN: ErrorInfo(-32009, False, "This peer may not do that."),
    Code.QUESTION_NOT_FOUND: ErrorInfo(-32010, False, "No open question has that requestId; it may be answered."),
    Code.LINE_TOO_LONG: ErrorInfo(-32011, False, "The line is longer than the limit; it was skipped to its end."),
    Code.OVERLOADED: ErrorInfo(-32012, True, "A bound of the daemon is reached; try again later."),
    Code.AGENT_REFUSED: ErrorInfo(-32013, False, "The agent answered the command with an error."),
    Code.AGENT_TIMEOUT: ErrorInfo(-32014, True, "The agent did not answer the command in time."),
    Code.SESSION_SAVE_FAILED: ErrorInfo(
        -32015, True, "The turn could not be written; the session on disk is the one before it."
    ),
    Code.SESSION_CORRUPT: ErrorInfo(-32016, False, "Neither session.json nor its previous generation can be read."),
    Code.WORKSPACE_POLICY_VIOLATION: ErrorInfo(
        -32017, False, "The folder is outside the workspace root, is reached by a link, or does not exist."
    ),
    Code.SHUTTING_DOWN: ErrorInfo(-32018, True, "The daemon is stopping."),
}


class TaskdError(Exception):
    """A fault that a host may be told about.

    Attributes:
        code: one of `Code`.
        message: one sentence for people; says what to do next where there is something to do.
        details: JSON object with facts for machines; never holds secrets.
        retryable: whether the same request may succeed later; the table's word unless overridden.
    """

    def __init__(
        self, code: Code, message: str, *, details: dict[str, Any] | None = None, retryable: bool | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details or {}
        self.retryable = ERRORS[code].retryable if retryable is None else retryable

    def __repr__(self) -> str:
        return f"TaskdError({self.code}, {self.message!r})"
