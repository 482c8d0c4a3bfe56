"""The vocabularies of state. Each word has one meaning (design page, section 1); none is shared between tables."""

from enum import StrEnum


class TaskState(StrEnum):
    """Where a task is in its life."""

    MISSING = "missing"
    """Unknown here: never created, or its folder is gone."""
    CREATING = "creating"
    """An agent process is being started and has not answered yet."""
    READY = "ready"
    """The agent has answered; the task was not selected since it was opened."""
    ACTIVE = "active"
    """The one task that prompts go to."""
    IDLE = "idle"
    """Was active, another was selected since; its agent lives and may still be finishing a turn."""
    ERRORED = "errored"
    """Its agent died or could not be started; the session on disk is intact."""
    STOPPED = "stopped"
    """No agent; the session on disk can be resumed."""


class OpenMode(StrEnum):
    """What `create_or_open_task` did."""

    CREATED = "created"
    RESUMED = "resumed"
    RECOVERED = "recovered"


class Bootstrap(StrEnum):
    """How far the agent's start has come, as P0 hosts ask for it."""

    NOT_STARTED = "not_started"
    PENDING = "pending"
    READY = "ready"
    ERRORED = "errored"


class StopReason(StrEnum):
    """Why a turn ended."""

    STOP = "stop"
    """The agent said all it had to say."""
    LENGTH = "length"
    """The model's output limit was reached."""
    ABORTED = "aborted"
    """A host or a stop ended it."""
    ERROR = "error"
    """The agent or its model reported an error; the process lives."""
