"""A conversation with the codec in a test, line by line; what pi says is written down as JSON values."""

from typing import Any

from taskd.agents.pi_codec import PiCodec
from taskd.model import agent
from taskd.model.limits import DEFAULT_LIMITS, Limits
from tests.agents.pi_replay import STATE, Value, answer_to, greeted, line_of, written

RUN_STARTS = {"type": "agent_start"}
RUN_ENDS = {"type": "agent_end", "messages": []}
RUN_WILL_BE_RETRIED = {**RUN_ENDS, "willRetry": True}
RUN_ENDS_FOR_GOOD = {**RUN_ENDS, "willRetry": False}
SETTLED = {"type": "agent_settled", "aborted": False}
SETTLED_BY_ABORT = {"type": "agent_settled", "aborted": True}
RETRY_STARTS = {"type": "auto_retry_start", "attempt": 1, "maxAttempts": 3, "delayMs": 2000, "errorMessage": "503"}
RETRY_CANCELLED = {"type": "auto_retry_end", "success": False, "attempt": 1, "finalError": "Retry cancelled"}
RETRY_GIVEN_UP = {"type": "auto_retry_end", "success": False, "attempt": 3, "finalError": "503"}
RETRY_SUCCEEDED = {"type": "auto_retry_end", "success": True, "attempt": 1}
COMPACTION_STARTS = {"type": "compaction_start", "reason": "threshold"}


def compaction_ends(*, will_retry: bool = False, done: bool = True) -> Value:
    result = {"summary": "short", "tokensBefore": 9} if done else None
    return {"type": "compaction_end", "reason": "overflow", "result": result, "aborted": False, "willRetry": will_retry}


def delta(text: str, kind: str = "text") -> Value:
    event = {"type": f"{kind}_delta", "contentIndex": 0, "delta": text}
    return {"type": "message_update", "usage": {}, "assistantMessageEvent": event}


def old_delta(text: str, so_far: str) -> Value:
    """A delta as 0.74 says it, with the whole message twice."""
    message = {"role": "assistant", "content": [{"type": "text", "text": so_far}], "stopReason": "stop"}
    event = {"type": "text_delta", "contentIndex": 0, "delta": text, "partial": message}
    return {"type": "message_update", "assistantMessageEvent": event, "message": message}


def message(role: str, *content: Value, **fields: Any) -> Value:
    return {"type": "message_end", "message": {"role": role, "content": list(content), **fields}}


def text(words: str) -> Value:
    return {"type": "text", "text": words}


def answered(stop: str, words: str = "so", **fields: Any) -> Value:
    return message("assistant", text(words), stopReason=stop, **fields)


def failed(words: str = "503 overloaded") -> Value:
    return message("assistant", stopReason="error", errorMessage=words)


class Talk:
    """A codec past its handshake, and the other end of its pipes."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS, *, keep_raw: bool = False) -> None:
        self.codec: PiCodec = greeted(limits, keep_raw=keep_raw)

    def tell(self, *commands: agent.Command) -> list[Value]:
        """Give commands to the codec; what it writes for them."""
        for command in commands:
            self.codec.send(command)
        return written(self.codec)

    def pi(self, *values: Any) -> list[agent.Said]:
        """Let pi say these in one piece."""
        return self.codec.feed(b"".join(line_of(value) for value in values))

    def answer(self, command: Value, data: Any = None, error: str | None = None) -> list[agent.Said]:
        return self.codec.feed(answer_to(command, data, error))

    def asks(self) -> list[Value]:
        """What the codec wants to know or do by itself."""
        return written(self.codec)

    def state(self, question: Value, **fields: Any) -> list[agent.Said]:
        assert question["type"] == "get_state"
        return self.answer(question, {**STATE, **fields})

    def prompt(self, words: str = "do it", data: Any = None, tag: int = 1) -> None:
        """Start a turn and let pi take it; `data` is what the newer ones say to it."""
        (command,) = self.tell(agent.Prompt(tag, words))
        assert self.answer(command, data) == [agent.Answered(tag, True)]

    def new_prompt(self) -> None:
        """A turn with a pi that says what becomes of a prompt (>= 0.99)."""
        self.prompt(data={"disposition": "started"})
        assert self.asks() == []

    def old_prompt(self) -> None:
        """A turn with a pi that says nothing of the kind, as far as its first run."""
        self.prompt()
        (question,) = self.asks()
        assert self.state(question, isStreaming=True) == []
        assert self.pi(RUN_STARTS) == []


def ends(reason: str, error: str = "") -> list[agent.Said]:
    return [agent.TurnEnded(reason, error)]


def of_kind(said: list[agent.Said], kind: type[agent.Said]) -> list[Any]:
    return [one for one in said if isinstance(one, kind)]
