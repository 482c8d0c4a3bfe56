"""Everything that `host_client` raises, in one tree, told apart by what the caller can do about it.

    HostError
    ├─ DialFailed           no connection could be made; `hint` says what to do next
    ├─ ConnectionLost       it broke; `maybe_done` says whether the guest may have acted
    ├─ CallTimeout          no answer in time; the client stays usable
    ├─ BadAnswer            the guest said something that is not the contract
    ├─ TooManyCalls         a bound of this client is reached
    ├─ SwitchTimeout        not ready at the hard deadline; the client stays usable
    ├─ SwitchSuperseded     a later switch of another task took over
    └─ GuestError           the guest refused; code, message, retryable, details
       ├─ SwitchFailed      the task ended while it was being switched to
       └─ TurnFailed        a turn ended with `task_error` instead of `agent_end`

`code` is a string, not a `Code`: a newer daemon may know codes that this client does not.
"""

from typing import Any, Final

_MAYBE: Final = "; the call may have been done"


class HostError(Exception):
    """Base of all errors of this package."""


class DialFailed(HostError):
    """Raised when no working connection could be made.

    Attributes:
        address: what was dialled.
        reason: what happened, one clause.
        hint: what to do next, one sentence; empty when there is nothing to advise.
        permanent: dialling again cannot help, so it is not tried.
    """

    def __init__(self, address: str, reason: str, hint: str = "", *, permanent: bool = False) -> None:
        super().__init__(f"cannot connect to {address}: {reason}" + (f"; {hint}" if hint else ""))
        self.address = address
        self.reason = reason
        self.hint = hint
        self.permanent = permanent


class ConnectionLost(HostError):
    """Raised when the connection broke, or was closed, before the answer came.

    Attributes:
        reason: why, one clause.
        maybe_done: whether the guest may have acted on the request; false if it was never sent or changes nothing.
    """

    def __init__(self, reason: str, *, maybe_done: bool = False) -> None:
        super().__init__(f"connection lost: {reason}" + _MAYBE * maybe_done)
        self.reason = reason
        self.maybe_done = maybe_done


class CallTimeout(HostError):
    """Raised when a call was not answered within its time limit; its late answer is dropped.

    Attributes:
        method: the method's name.
        seconds: the time limit.
        maybe_done: whether the guest may have acted on the call; false if it was never sent or changes nothing.
    """

    def __init__(self, method: str, seconds: float, *, maybe_done: bool = False) -> None:
        super().__init__(f"{method} was not answered within {seconds:g} s" + _MAYBE * maybe_done)
        self.method = method
        self.seconds = seconds
        self.maybe_done = maybe_done


class BadAnswer(HostError):
    """Raised when an answer of the guest does not have the form that the contract gives it."""


class TooManyCalls(HostError):
    """Raised when more calls wait for answers than this client allows; wait for some of them."""


class SwitchTimeout(HostError):
    """Raised when a task is not ready at the hard deadline of a switch. The client stays usable.

    The task may still become ready later; that is then seen in `Client.mirror`, and another `switch` succeeds at once.

    Attributes:
        task_id: the task that was switched to.
        seconds: the time limit.
        by_guest: true if the guest gave up before the host did.
        code: always `SWITCH_TIMEOUT`, so that it reads like a guest's error.
    """

    code = "SWITCH_TIMEOUT"

    def __init__(self, task_id: str, seconds: float, *, by_guest: bool = False) -> None:
        who = "the guest gave up on it" if by_guest else "it is not ready"
        super().__init__(f"switch to {task_id}: {who} within {seconds:g} s")
        self.task_id = task_id
        self.seconds = seconds
        self.by_guest = by_guest


class SwitchSuperseded(HostError):
    """Raised when another switch began before this one was done; `by` is the task that it goes to."""

    def __init__(self, task_id: str, by: str) -> None:
        super().__init__(f"switch to {task_id} was superseded by a switch to {by}")
        self.task_id = task_id
        self.by = by


class GuestError(HostError):
    """Raised when the guest refuses a call.

    Attributes:
        code: the stable error code, such as `TASK_NOT_FOUND`.
        message: the guest's sentence for people.
        retryable: whether the same call may succeed later.
        details: facts for machines.
    """

    def __init__(
        self, code: str, message: str, *, retryable: bool = False, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retryable = retryable
        self.details = details or {}


class SwitchFailed(GuestError):
    """Raised when the task ended while it was being switched to."""


class TurnFailed(GuestError):
    """Raised when a turn ended with `task_error`; nothing of it is in the session.

    Attributes:
        task_id: the task, now errored (`Client.open` recovers it).
        turn_id: the turn, or None if it ended before the guest had named it.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        task_id: str,
        turn_id: str | None = None,
        retryable: bool = False,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(code, message, retryable=retryable, details=details)
        self.task_id = task_id
        self.turn_id = turn_id
