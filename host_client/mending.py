"""What became of a turn while there was no connection.

It may be running still, then only some of its events are missing. It may have ended, then the session has it. Or its
task has ended, and it is in no session. The guest's state and its session together always tell which.
"""

from typing import Final, Protocol

from host_client.errors import HostError, TurnFailed
from host_client.turn import Sessions, Turn, find_turn
from taskd.model.calls import TaskView
from taskd.model.errors import Code
from taskd.model.states import TaskState

RECENT_TURNS: Final = 64
"""How many turns back a turn is looked for that ended unheard; other hosts may have prompted meanwhile."""


class Guest(Sessions, Protocol):
    """The part of the client that is needed here."""

    async def get_task(self, task_id: str) -> TaskView:
        """Give one task as it is now."""


async def mend(guest: Guest, turn: Turn, *, lost: bool = True) -> None:
    """Find out what became of a turn, and let it go on or end it accordingly. Never raises `HostError`.

    Without `lost` the connection held, and only if the turn's start was not told has anything been missed: then the
    prompt was one that the guest had taken before.
    """
    state = turn.state
    if state.finished or state.task_id is None or state.turn_id is None:
        return
    try:
        view = await guest.get_task(state.task_id)
        if state.begun and not lost:
            return
        state.gap = True
        if view.turn_id == state.turn_id:
            state.rebase(view.incarnation)
            return
        record = await find_turn(guest, state.task_id, state.turn_id, view.turn_count - RECENT_TURNS)
    except HostError as error:
        turn.fail(error)
        return
    if record is not None:
        turn.recover(record)
    else:
        turn.fail(_unseen(view, state.turn_id))


def _unseen(view: TaskView, turn_id: str) -> TurnFailed:
    """The error of a turn that ended without a result."""
    code = Code.PI_PROCESS_DEAD if view.state == TaskState.ERRORED else Code.TASK_NOT_READY
    text = view.last_error or "the turn ended while there was no connection, and is not in the session"
    return TurnFailed(code, text, task_id=view.task_id, turn_id=turn_id, retryable=True)
