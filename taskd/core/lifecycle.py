"""The lifecycle of a task, as one total table.

Rules of this file: everything that decides a task's next state lives in `LIFECYCLE`; every pair of state and trigger
has an entry; nothing here knows who asks or what follows. `spec/lifecycle.md` is generated from the table.

An entry is the next state, or a `Code` (the call is refused with it and nothing changes), or `IGNORED` (a fact that
comes too late or means nothing there). A call that is allowed but changes nothing by itself has its own state as
entry.
"""

from enum import StrEnum
from typing import Final

from taskd.model.errors import Code
from taskd.model.states import TaskState


class Trigger(StrEnum):
    """What can happen to a task. The first four are asked by hosts, the others are facts."""

    OPEN = "create_or_open_task"
    SWITCH = "switch_task"
    PROMPT = "prompt"
    STOP = "stop_task"
    ANSWERED = "agent answered"
    """The agent's handshake is done."""
    PROVEN = "agent proven"
    """A switch to the task ends: its agent gave a sign of life."""
    DESELECTED = "deselected"
    """A switch to another task begins, or this one is about to stop."""
    DIED = "agent died"
    """The process ended unasked, could not be started, or was given up."""
    GONE = "agent gone"
    """A stop has come to its end."""


CALLS: Final = (Trigger.OPEN, Trigger.SWITCH, Trigger.PROMPT, Trigger.STOP)


class _Ignored:
    """The type of `IGNORED`."""

    def __repr__(self) -> str:
        return "IGNORED"


IGNORED: Final = _Ignored()

Entry = TaskState | Code | _Ignored

_M, _C, _R = TaskState.MISSING, TaskState.CREATING, TaskState.READY
_A, _I, _E, _S = TaskState.ACTIVE, TaskState.IDLE, TaskState.ERRORED, TaskState.STOPPED
_NF, _NR, _X = Code.TASK_NOT_FOUND, Code.TASK_NOT_READY, IGNORED

# fmt: off
_ROWS: Final[dict[TaskState, tuple[Entry, ...]]] = {
    #     OPEN SWITCH PROMPT STOP  ANSWERED PROVEN DESELECTED DIED GONE
    _M: (_C,   _NF,   _NF,   _NF,  _X,      _X,    _X,        _X,  _X),
    _C: (_NR,  _NR,   _NR,   _NR,  _R,      _X,    _X,        _E,  _S),
    _R: (_NR,  _R,    _NR,   _R,   _X,      _A,    _X,        _E,  _S),
    _A: (_NR,  _A,    _A,    _A,   _X,      _A,    _I,        _E,  _S),
    _I: (_NR,  _I,    _NR,   _I,   _X,      _A,    _X,        _E,  _S),
    _E: (_C,   _NR,   _NR,   _E,   _X,      _X,    _X,        _X,  _S),
    _S: (_C,   _NR,   _NR,   _S,   _X,      _X,    _X,        _X,  _X),
}
# fmt: on

LIFECYCLE: Final[dict[tuple[TaskState, Trigger], Entry]] = {
    (state, trigger): entry for state, row in _ROWS.items() for trigger, entry in zip(Trigger, row, strict=True)
}


def allowed(state: TaskState) -> list[str]:
    """Name the calls that a task in `state` takes, for error messages."""
    return [call.value for call in CALLS if isinstance(LIFECYCLE[state, call], TaskState)]
