"""Plays a golden transcript of real pi to the codec, and gives what the codec made of it.

What the recording host sent becomes the codec's own commands (the lines it writes must be the same but for the id);
what pi said is fed with the ids put right. get_state calls that the codec adds are answered as pi would at that place
of the conversation: after what pi says in the same breath.
"""

import json
from collections.abc import Iterator
from typing import Any

from taskd.agents.base import Opening
from taskd.agents.pi import Pi
from taskd.agents.pi_codec import PiCodec
from taskd.model import agent
from taskd.model.limits import DEFAULT_LIMITS, Limits
from tests.kit.pi_goldens import NEW, OLD, GoldenLine, read_golden, scenarios

SCENARIOS = tuple(sorted(set(scenarios(NEW)) & set(scenarios(OLD))))
OPENING = Opening("task-1", "/work", "/task-1/agent/session.jsonl")

SAME_BREATH = frozenset({"auto_retry_start", "auto_retry_end", "compaction_start", "agent_settled", "response"})
"""What pi says at once after an `agent_end`, before it reads its stdin again."""

STATE = {
    "model": {"id": "mock-1", "name": "Mock One", "provider": "mock", "contextWindow": 128000, "api": "x"},
    "thinkingLevel": "off",
    "isStreaming": False,
    "isCompacting": False,
    "sessionFile": "/task-1/agent/session.jsonl",
    "sessionId": "task-1",
    "messageCount": 0,
    "pendingMessageCount": 0,
}

Value = dict[str, Any]


def said_lines(version: str, scenario: str) -> bytes:
    """All that pi said in a transcript, as it came from its pipe."""
    return b"".join(line_of(line.value) for line in read_golden(version, scenario) if not line.sent)


def line_of(value: Any) -> bytes:
    """A line as pi writes it: no spaces, no escapes that are not needed."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def answer_to(command: Value, data: Any = None, error: str | None = None) -> bytes:
    """pi's answer to a command."""
    answer: Value = {"id": command["id"], "type": "response", "command": command["type"], "success": error is None}
    if error is not None:
        answer["error"] = error
    elif data is not None:
        answer["data"] = data
    return line_of(answer)


def written(codec: PiCodec) -> list[Value]:
    """What the codec wants to write, line by line."""
    return [json.loads(line) for line in codec.outgoing().split(b"\n") if line]


def greeted(limits: Limits = DEFAULT_LIMITS, *, opening: Opening = OPENING, keep_raw: bool = False) -> PiCodec:
    """A codec whose handshake is done."""
    codec = Pi().codec(opening, limits, keep_raw=keep_raw)
    codec.start()
    (asked,) = written(codec)
    (ready,) = codec.feed(answer_to(asked, STATE))
    assert isinstance(ready, agent.Ready)
    return codec


class Replay:
    """One transcript and one codec. `story` is all that the codec said, `raw` the lines for hosts that want pi's own,
    `asked` how often the codec wanted to know the state.

    `whole` feeds what pi says between two commands at once, `cut` feeds it byte by byte.
    """

    def __init__(self, version: str, scenario: str, *, whole: bool = False, cut: bool = False) -> None:
        self.codec = greeted(keep_raw=True)
        self.story: list[agent.Said] = []
        self.raw: list[bytes] = []
        self.asked = 0
        self._lines = read_golden(version, scenario)
        self._whole = whole
        self._cut = cut
        self._ids: dict[str, str] = {}
        self._tag = 0
        self._running = self._prompted = self._compacting = False
        self._waiting = b""

    def play(self) -> "Replay":
        for at, line in enumerate(self._lines):
            if line.sent:
                self._flush()
                self._send(line.value)
                continue
            self._note(line.value)
            self._waiting += line_of(self._with_our_id(line.value))
            if not self._whole and not self._in_same_breath(self._lines[at + 1 : at + 2]):
                self._flush()
        self._flush()
        return self

    def _in_same_breath(self, following: tuple[GoldenLine, ...]) -> bool:
        return any(not line.sent and line.value.get("type") in SAME_BREATH for line in following)

    def _send(self, value: Any) -> None:
        command = self._command(value) if isinstance(value, dict) else None
        if command is None:
            return
        self.codec.send(command)
        (line,) = written(self.codec)
        if isinstance(command, agent.AnswerQuestion):
            assert line == value
            return
        self._ids[value["id"]] = line["id"]
        assert {**line, "id": value["id"]} == value

    def _command(self, value: Value) -> agent.Command | None:
        self._tag += 1
        match value:
            case {"type": "prompt", "message": message}:
                return agent.Prompt(self._tag, message)
            case {"type": "steer", "message": message}:
                return agent.Steer(self._tag, message)
            case {"type": "follow_up", "message": message}:
                return agent.FollowUp(self._tag, message)
            case {"type": "abort"}:
                return agent.Abort()
            case {"type": "get_state"}:
                return agent.Probe()
            case {"type": "set_model", "provider": provider, "modelId": model}:
                return agent.SetModel(self._tag, provider, model)
            case {"type": "get_available_models"}:
                return agent.ListModels(self._tag)
            case {"type": "extension_ui_response"}:
                return agent.AnswerQuestion(
                    value["id"], value.get("value"), value.get("confirmed"), value.get("cancelled", False)
                )
        return None

    def _with_our_id(self, value: Value) -> Value:
        return {**value, "id": self._ids[value["id"]]} if value.get("id") in self._ids else value

    def _note(self, value: Value) -> None:
        """Keep track of what pi would say of its state."""
        match value:
            case {"type": "response", "command": "prompt", "success": success}:
                self._prompted = success and value.get("data", {}).get("disposition") != "handled"
            case {"type": "agent_start"}:
                self._running, self._prompted = True, False
            case {"type": "agent_end"}:
                self._running = False
            case {"type": "compaction_start" | "compaction_end" as kind}:
                self._compacting = kind == "compaction_start"

    def _flush(self) -> None:
        data, self._waiting = self._waiting, b""
        while data:
            questions = [question for piece in self._pieces(data) for question in self._feed(piece)]
            self.asked += len(questions)
            data = b"".join(answer_to(question, self._state()) for question in questions)

    def _pieces(self, data: bytes) -> list[bytes]:
        return [data[at : at + 1] for at in range(len(data))] if self._cut else [data]

    def _feed(self, data: bytes) -> list[Value]:
        self.story += self.codec.feed(data)
        self.raw += self.codec.raw_lines()
        questions = written(self.codec)
        assert all(question["type"] == "get_state" for question in questions), "without a host only the state is asked"
        return questions

    def _state(self) -> Value:
        streaming = self._running or (self._prompted and self._ever_runs())
        return {**STATE, "isStreaming": streaming, "isCompacting": self._compacting}

    def _ever_runs(self) -> bool:
        return any(not line.sent and line.value.get("type") == "agent_start" for line in self._lines)


def merged(story: list[agent.Said]) -> list[agent.Said]:
    """The story with pieces of one text put together, however they were cut."""
    return list(_merged(story))


def _merged(story: list[agent.Said]) -> Iterator[agent.Said]:
    last: agent.Said | None = None
    for said in story:
        match last, said:
            case agent.TextDelta(text=old, kind=kind), agent.TextDelta(text=new, kind=same) if kind == same:
                last = agent.TextDelta(old + new, kind)
            case agent.ToolOutput(tool_call_id=id_, text=old, reset=reset), agent.ToolOutput(
                tool_call_id=same, text=new, reset=False
            ) if id_ == same:
                last = agent.ToolOutput(id_, old + new, reset)
            case _:
                if last is not None:
                    yield last
                last = said
    if last is not None:
        yield last
