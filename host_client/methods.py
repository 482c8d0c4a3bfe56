"""The guest's methods as this host calls them: params, result, how long to wait, and what a lost connection means.

Timeouts are seconds and lie above the guest's own bound for the same thing, so that the guest's better error comes
first. `again` says whether a call that was under way when the connection broke may be sent once more: the guest
remembers answers by client id and request id, so a repeated call has one effect, but it remembers them in memory only.
"""

from enum import Enum
from typing import Any, Final, Generic, TypeVar

import msgspec

from taskd.model import calls

QUICK: Final = 10.0
"""What the guest answers from memory or from its disk."""
SESSION: Final = 60.0
"""A long conversation, over a slow line."""
OPENING: Final = 45.0
"""The guest gives an agent 30 s to answer (limit bootstrap_seconds)."""
AGENT: Final = 25.0
"""The guest gives an agent 20 s for a command (limit agent_answer_seconds)."""
STOPPING: Final = 20.0
"""The guest's stop ladder takes 6 s at most, and saves the turn before it."""
BASH: Final = 60.0
"""The guest's own time limit of a shell command (limit bash_seconds)."""
BASH_GRACE: Final = 15.0
"""What the guest may need beyond the command's time limit to end it."""

_NO_TASK: Final = {"taskId": ""}
_ANSWERED: Final = {"answered": True, "taskId": "", "requestId": ""}

P = TypeVar("P", bound=calls.Params)
R = TypeVar("R", bound=calls.Result)


class Again(Enum):
    """Whether a call may be sent again after a reconnect."""

    ALWAYS = "always"
    """It reads, or doing it twice is the same as doing it once."""
    SAME_DAEMON = "same daemon"
    """Only to the daemon that remembers the answer."""
    NEVER = "never"
    """It belongs to the connection, or is not remembered."""


class Method(msgspec.Struct, Generic[P, R], frozen=True):
    """One method.

    `changes` is false for what only reads: it is never `maybe_done`. `lacking` stands in for fields of the result that
    P0 does not show. `needs_lease` is false for changes that any host may make.
    """

    name: str
    params: type[P]
    result: type[R]
    timeout: float = QUICK
    again: Again = Again.ALWAYS
    changes: bool = True
    lacking: dict[str, Any] = {}
    needs_lease: bool = True

    @property
    def drives(self) -> bool:
        """Whether it is for the one host that holds the driver lease."""
        return self.changes and self.needs_lease

    def read(self, raw: bytes) -> R:
        """Decode a result.

        Raises:
            msgspec.DecodeError: it has not the form that the contract gives it.
        """
        try:
            return msgspec.json.decode(raw, type=self.result)
        except msgspec.ValidationError:
            if not self.lacking:
                raise
        members = msgspec.json.decode(raw, type=dict[str, Any])
        return msgspec.convert({**self.lacking, **members}, self.result)


INITIALIZE: Final = Method("initialize", calls.Initialize, calls.InitializeResult, again=Again.NEVER, changes=False)
AUTHENTICATE: Final = Method(
    "authenticate", calls.Authenticate, calls.AuthenticateResult, again=Again.NEVER, changes=False
)
PING: Final = Method("ping", calls.Ping, calls.PingResult, changes=False)
TAKE_DRIVER: Final = Method("take_driver", calls.TakeDriver, calls.DriverResult, again=Again.NEVER, needs_lease=False)
RELEASE_DRIVER: Final = Method(
    "release_driver", calls.ReleaseDriver, calls.DriverResult, again=Again.NEVER, needs_lease=False
)

OPEN: Final = Method("create_or_open_task", calls.CreateOrOpenTask, calls.OpenResult, OPENING, Again.SAME_DAEMON)
SWITCH: Final = Method("switch_task", calls.SwitchTask, calls.SwitchResult)
STOP: Final = Method("stop_task", calls.StopTask, calls.StopResult, STOPPING)
GET_STATE: Final = Method("get_state", calls.GetState, calls.StateResult, changes=False)
GET_TASK: Final = Method("get_task", calls.GetTask, calls.TaskView, changes=False)
GET_SESSION: Final = Method("get_session", calls.GetSession, calls.SessionResult, SESSION, changes=False)

PROMPT: Final = Method("prompt", calls.Prompt, calls.PromptResult, AGENT, Again.SAME_DAEMON)
STEER: Final = Method("steer", calls.Steer, calls.SayResult, AGENT, Again.SAME_DAEMON)
FOLLOW_UP: Final = Method("follow_up", calls.FollowUp, calls.SayResult, AGENT, Again.SAME_DAEMON)
ABORT: Final = Method("abort", calls.Abort, calls.AbortResult, again=Again.SAME_DAEMON)
ANSWER: Final = Method(
    "answer", calls.Answer, calls.AnswerResult, again=Again.SAME_DAEMON, lacking=_ANSWERED, needs_lease=False
)

LIST_MODELS: Final = Method("list_models", calls.ListModels, calls.ModelsResult, AGENT, changes=False)
SET_MODEL: Final = Method("set_model", calls.SetModel, calls.SetModelResult, AGENT, lacking=_NO_TASK)

DIAG: Final = Method("diag", calls.Diag, calls.DiagResult, changes=False)
SYSTEM_BASH: Final = Method("system_bash", calls.SystemBash, calls.BashResult, BASH + BASH_GRACE, Again.SAME_DAEMON)
SHUTDOWN: Final = Method("shutdown", calls.Shutdown, calls.Done, again=Again.NEVER)
