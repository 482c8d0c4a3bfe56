"""One turn, from the prompt to its end, as a state machine without I/O.

    asked ── running ── ended      `agent_end`, or found in the session after a reconnect
      │         ├────── failed     `task_error`, `task_stopped`, or the prompt was refused
      └─────────┴────── failed     the connection is lost for good

Rules of this file:

* The turn runs from the acceptance, or from the `turn_started` that carries its prompt id, whichever comes first.
* Events of other tasks, of other turns and of older incarnations are ignored, and so is everything after the end.
* `hear` says whether an event is one of this turn's, to be shown; it never raises.
* The text is bounded; what is above the bound is cut, and the result says so.
"""

from enum import StrEnum
from typing import Final

import msgspec

from host_client.errors import HostError, TurnFailed
from taskd.model.agent import Block, Usage
from taskd.model.calls import PromptResult
from taskd.model.errors import Code
from taskd.model.events import (
    AgentEnd,
    AgentOutput,
    AgentQuestion,
    AgentQuestionClosed,
    Event,
    TaskError,
    TaskStopped,
    ToolEnded,
    ToolOutput,
    ToolStarted,
    TurnStarted,
    UsageReported,
)
from taskd.model.records import Turn as TurnRecord

MAX_TEXT_CHARS: Final = 4 << 20
"""Text kept of one turn; the guest's session keeps no more of one message."""


class Phase(StrEnum):
    """How far a turn has come; the last two are ends."""

    ASKED = "asked"
    RUNNING = "running"
    ENDED = "ended"
    FAILED = "failed"


class TurnResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A turn that is over and on the guest's disk."""

    task_id: str
    turn_id: str
    prompt_id: str
    turn_number: int
    """1 for the first turn of the session."""
    stop_reason: str
    """One of `taskd.model.states.StopReason`: stop, length, aborted or error."""
    text: str
    """What the agent said, without its thinking; a blank line between one message and the next."""
    usage: Usage
    error: str = ""
    """What the agent or its model reported, when `stop_reason` is error."""
    save_ms: float = 0.0
    complete: bool = True
    """False if some of the text was not heard, or was cut at the bound."""


_SHOWN = (AgentOutput, ToolStarted, ToolOutput, ToolEnded, UsageReported, AgentQuestion, AgentQuestionClosed)

TurnItem = AgentOutput | ToolStarted | ToolOutput | ToolEnded | UsageReported | AgentQuestion | AgentQuestionClosed
"""What happens in a turn, as the guest tells it."""


class TurnState:
    """What is known of one turn.

    Args:
        prompt_id: the id that this host gave the prompt.
        task_id: the task, or None for whichever is active.
        incarnation: the newest incarnation that is known of it.

    Attributes:
        turn_id: the guest's id, once it is known.
        result: what the turn came to, once it has ended.
        error: why there is no result, once it has failed.
        begun: its `turn_started` was heard, so all that follows is.
        gap: events may have been missed, so `result.text` may lack something that the session has.
    """

    def __init__(self, prompt_id: str, task_id: str | None = None, incarnation: int = 0) -> None:
        self.prompt_id = prompt_id
        self.task_id = task_id
        self.phase = Phase.ASKED
        self.turn_id: str | None = None
        self.result: TurnResult | None = None
        self.error: HostError | None = None
        self.begun = False
        self.gap = False
        self._incarnation = incarnation
        self._text = _Text()

    @property
    def finished(self) -> bool:
        """Whether the turn has come to an end, a good one or a bad one."""
        return self.phase in (Phase.ENDED, Phase.FAILED)

    @property
    def text(self) -> str:
        """What the agent has said so far."""
        return self._text.whole()

    def accept(self, answer: PromptResult) -> None:
        """Take the guest's answer to the prompt."""
        self._begin(answer.task_id, answer.turn_id)

    def fail(self, error: HostError) -> None:
        """End the turn without a result: refused, or lost for good."""
        if not self.finished:
            self.phase, self.error = Phase.FAILED, error

    def rebase(self, incarnation: int) -> None:
        """Take the task's incarnation from the guest's state."""
        self._incarnation = incarnation

    def hear(self, task_id: str | None, event: Event) -> TurnItem | None:
        """Take an event of any task, and give it back if it is to be shown as one of this turn's."""
        if self.phase is Phase.RUNNING:
            return self._hear_own(event) if task_id == self.task_id else None
        if self.phase is Phase.ASKED:
            self._hear_start(task_id, event)
        return None

    def recover(self, record: TurnRecord) -> None:
        """Take the turn's record from the session: it ended while nobody listened."""
        if self.phase is not Phase.RUNNING:
            return
        self.phase = Phase.ENDED
        self.result = TurnResult(
            task_id=self.task_id or "",
            turn_id=record.turn_id,
            prompt_id=self.prompt_id,
            turn_number=record.number,
            stop_reason=record.stop_reason,
            text=text_of(record),
            usage=record.usage,
            error=record.error,
        )

    def complete(self, record: TurnRecord) -> None:
        """Take the turn's record from the session: its text is whole, ours may not be."""
        if self.result is not None:
            self.result = msgspec.structs.replace(self.result, text=text_of(record), complete=True)

    def _begin(self, task_id: str, turn_id: str) -> None:
        if self.phase is Phase.ASKED:
            self.phase, self.task_id, self.turn_id = Phase.RUNNING, task_id, turn_id

    def _hear_start(self, task_id: str | None, event: Event) -> None:
        if isinstance(event, TurnStarted) and event.prompt_id == self.prompt_id and task_id is not None:
            self._begin(task_id, event.turn_id)
            self.begun = True
            self._incarnation = max(self._incarnation, event.incarnation)

    def _hear_own(self, event: Event) -> TurnItem | None:
        if isinstance(event, AgentOutput):
            if event.kind == "text":
                self._text.add(event.chunk)
            return event
        if getattr(event, "turn_id", None) not in (None, self.turn_id):
            return None
        self._hear_turn(event)
        return event if isinstance(event, _SHOWN) else None

    def _hear_turn(self, event: Event) -> None:
        if isinstance(event, AgentEnd):
            self._end(event)
        elif isinstance(event, TaskError):
            self._end_with_error(event)
        elif isinstance(event, TaskStopped):
            self._fail(Code.TASK_NOT_READY, "the task was stopped before the turn had ended")
        elif isinstance(event, TurnStarted):
            self.begun = True
            self._incarnation = max(self._incarnation, event.incarnation)
        elif isinstance(event, ToolStarted | UsageReported):
            self._text.end_message()

    def _end(self, event: AgentEnd) -> None:
        self.phase = Phase.ENDED
        self.result = TurnResult(
            task_id=self.task_id or "",
            turn_id=event.turn_id,
            prompt_id=self.prompt_id,
            turn_number=event.turn_number,
            stop_reason=event.stop_reason,
            text=self._text.whole(),
            usage=event.usage,
            error=event.error,
            save_ms=event.save_ms,
            complete=not (self.gap or self._text.cut),
        )

    def _end_with_error(self, event: TaskError) -> None:
        if event.incarnation < self._incarnation:
            return
        self.fail(
            TurnFailed(
                event.code,
                event.message,
                task_id=self.task_id or "",
                turn_id=self.turn_id,
                retryable=event.retryable,
                details=event.details,
            )
        )

    def _fail(self, code: str, message: str) -> None:
        self.fail(TurnFailed(code, message, task_id=self.task_id or "", turn_id=self.turn_id, retryable=True))


class _Text:
    """The text of a turn, message by message."""

    def __init__(self) -> None:
        self.cut = False
        self._parts: list[str] = []
        self._chars = 0
        self._new_message = False

    def add(self, chunk: str) -> None:
        if self._new_message and self._parts:
            chunk = "\n\n" + chunk
        self._new_message = False
        room = MAX_TEXT_CHARS - self._chars
        if len(chunk) > room:
            chunk, self.cut = chunk[:room], True
        if not chunk:
            return
        self._parts.append(chunk)
        self._chars += len(chunk)

    def end_message(self) -> None:
        self._new_message = True

    def whole(self) -> str:
        self._parts = ["".join(self._parts)] if self._parts else []
        return self._parts[0] if self._parts else ""


def text_of(record: TurnRecord) -> str:
    """Give what the agent said in a turn of the session, in the form of `TurnResult.text`."""
    said = ("".join(_words(message.content)) for message in record.messages if message.role == "assistant")
    return "\n\n".join(text for text in said if text)


def _words(content: tuple[Block, ...]) -> list[str]:
    return [block.text for block in content if block.type == "text"]
