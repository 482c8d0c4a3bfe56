"""When a turn of pi is over. Pure; fed with what pi says, in order.

pi says `agent_end` at the end of every run, and a turn may have several: failed runs are tried again, a conversation
that overflowed is compacted and goes on, queued messages start a new run. What ends the turn depends on the version,
which is never configured but learnt from what pi says:

* since 0.80.4, `agent_settled`. An answer to `prompt` with a disposition (since 0.99.0) tells beforehand that it will
  come; before it was seen once, the rule below is asked too, and agrees.
* before, only `agent_end`. pi 0.74 decides about a retry or a compaction in the same breath in which it says
  `agent_end` (one JavaScript task, two writes), so a get_state sent when `agent_end` was read is answered after
  `auto_retry_start` or `compaction_start`, if there is one. So: no end is believed until a get_state that was sent
  after it says that pi neither streams nor compacts, while no retry is announced. When a retry was given up or a
  compaction is done, pi is asked again.

A prompt that an extension handled itself (`/command`) starts no run, or starts one of its own accord: the answer to the
prompt makes pi be asked in the same way, and the turn ends when nothing runs.

It must not know bytes or ids. Rules: exactly one `TurnEnded` for each begun turn that was not refused; an end that
belongs to no turn (an extension may start runs) is nobody's; after an abort that pi has answered, an idle pi ends the
turn whatever was announced before.
"""

from taskd.agents.pi_wire import State
from taskd.model.agent import TurnEnded
from taskd.model.states import StopReason


class TurnWatch:
    """Follows one turn at a time.

    `open` says whether a turn is under way, and `number` which. `wants_state` asks the codec to send a get_state for
    this turn, `wants_abort` to send the abort again, `wants_clear` to empty pi's queue; it does so when all that was
    read is told, and sets them back.
    """

    __slots__ = (
        "_aborted",
        "_aborting",
        "_accepted",
        "_compacted",
        "_error",
        "_expects_run",
        "_holds",
        "_ran",
        "_running",
        "_settles",
        "_stop",
        "number",
        "open",
        "wants_abort",
        "wants_clear",
        "wants_state",
    )

    def __init__(self) -> None:
        self.number = 0
        self._settles = False
        self._aborted: bool | None = None
        self._holds = False
        self.wants_clear = False
        self._reset(open_=False)

    def begin(self) -> None:
        """A prompt was sent."""
        self.number += 1
        self._reset(open_=True)

    def refused(self) -> None:
        """pi would not take the prompt: there was no turn."""
        self._reset(open_=False)

    def accepted(self, disposition: str | None) -> None:
        """pi took the prompt; it says since 0.99.0 what became of it: started, queued or handled."""
        self._settles = self._settles or disposition is not None
        self._accepted = True
        self._abort_again()
        if disposition == "handled" or (disposition is None and not self._ran):
            self._ask()

    def run_started(self) -> None:
        """A run begins, whoever asked for it."""
        self._running = self._ran = True
        self._expects_run = self._compacted = self.wants_state = False
        self._abort_again()

    def assistant_ended(self, stop_reason: str, error: str) -> None:
        """An assistant message is whole; the last one of a turn says how the turn went."""
        self._stop, self._error = stop_reason, error

    def run_ended(self, will_retry: bool | None) -> None:
        """A run ends."""
        self._running = False
        if will_retry:
            self._expects_run = True
        else:
            self._ask_old()

    def retry_started(self) -> None:
        """Another run will come by itself."""
        self._expects_run = True
        self.wants_state = False

    def retry_ended(self) -> None:
        """No retry is announced any more: it succeeded, which is said within its run, or it was given up."""
        self._expects_run = False
        self._ask_old()

    def compaction_ended(self, done: bool, will_retry: bool | None) -> None:
        """A compaction is over. After one that was `done`, messages that wait start a run by themselves."""
        self._expects_run = self._expects_run or bool(will_retry)
        self._compacted = done
        self._ask_old()

    def line_lost(self) -> None:
        """A line could not be read: it may have been the one that ends the run."""
        if not self._settles:
            self._running = False
            self._ask()

    def queue_changed(self, holds: bool) -> None:
        """pi holds messages for a run to hear, or none any more."""
        self._holds = holds

    def is_too_late(self) -> bool:
        """A message was queued; say whether its turn is over.

        RACE: pi also queues what comes after its run has ended. It would be heard with the next prompt, whenever that
        comes, so it is taken back.
        """
        self.wants_clear = self.wants_clear or not self.open
        return not self.open

    def abort_sent(self) -> None:
        """A host wants the turn to end."""
        self._aborting = self.open

    def abort_answered(self) -> None:
        """pi has done what an abort does."""
        self._ask()

    def settled(self, aborted: bool | None) -> TurnEnded | None:
        """Nothing will follow by itself: the turn is over, if one was taken. `aborted` is told since 1.1.0."""
        self._settles = True
        self._aborted = aborted
        return self._end() if self.open and (self._accepted or self._ran) else None

    def state(self, number: int, state: State) -> TurnEnded | None:
        """pi's state, as asked for in turn `number`."""
        if not self.open or number != self.number or not self._accepted:
            return None
        if state.is_streaming or state.is_compacting:
            return None
        if self._aborting:
            return self._end()
        if self._compacted and state.pending_message_count:
            self._expects_run = True
        return None if self._running or self._expects_run else self._end()

    def _ask(self) -> None:
        self.wants_state = self.open

    def _ask_old(self) -> None:
        if not self._settles and not self._running:
            self._ask()

    def _abort_again(self) -> None:
        # RACE: pi answers an abort at once, and forgets it, while it still prepares the prompt before it.
        self.wants_abort = self._aborting

    def _end(self) -> TurnEnded:
        reason = self._reason()
        # An aborted run leaves what was queued for it, to be heard with the next prompt.
        self.wants_clear = self.wants_clear or self._holds
        error = self._error if reason is StopReason.ERROR else ""
        self._reset(open_=False)
        return TurnEnded(reason.value, error)

    def _reason(self) -> StopReason:
        if self._aborted or self._stop == "aborted":
            return StopReason.ABORTED
        given_up = self._aborting and self._aborted is None
        match self._stop:
            case "length":
                return StopReason.LENGTH
            case "error":
                return StopReason.ABORTED if given_up else StopReason.ERROR
            case "stop":
                return StopReason.STOP
        return StopReason.ABORTED if given_up else StopReason.STOP

    def _reset(self, *, open_: bool) -> None:
        self.open = open_
        self._accepted = self._ran = self._running = False
        self._expects_run = self._compacted = False
        self._aborting = self.wants_abort = self.wants_state = False
        self._aborted = None
        self._stop = self._error = ""
