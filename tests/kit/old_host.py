"""A host as it was written for the replaced system: it knows ten commands, and takes lines apart as its author did.

A line with a boolean `ok` is an answer, one of type `event` is an event, and any other is the active agent's own word.
It knows no lease, no token, no event number, and nothing of JSON-RPC.
"""

import itertools
import json
from typing import Any, NamedTuple

from tests.kit.daemon import Host, Refused

COMMANDS = (
    "create_or_open_task",
    "switch_task",
    "prompt",
    "runtime_get_state",
    "runtime_diag",
    "pi_get_available_models",
    "pi_set_model",
    "extension_ui_response",
    "system_bash",
    "stop_task",
)

_NUMBERS = itertools.count(1)


class Word(NamedTuple):
    """A line as this host files it: an `answer`, an `event`, or `raw`."""

    kind: str
    name: str
    line: dict[str, Any]


class OldHost:
    """One connection."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.words: list[Word] = []
        self._read = 0

    def send(self, command: str, /, *, id: str | None = None, **payload: Any) -> str:
        """Send a command; give its id."""
        assert command in COMMANDS, f"this host does not know {command}"
        id = id or f"req-{next(_NUMBERS)}"
        self.host.send({"id": id, "type": command, "payload": payload})
        return id

    def call(self, command: str, /, *, id: str | None = None, **payload: Any) -> Any:
        """Send a command and wait for its result; raises Refused."""
        return self.answer(self.send(command, id=id, **payload))

    def answer(self, id: str) -> Any:
        """Wait for the answer of a command; each is taken once."""
        word = self.until(lambda word: word.kind == "answer" and word.line.get("id") == id)
        if not word.line["ok"]:
            raise Refused(word.line["error"])
        return word.line["result"]

    def event(self, name: str, task: str) -> dict[str, Any]:
        """Wait for an event of a task; give its payload."""
        word = self.until(lambda word: (word.kind, word.name, word.line.get("taskId")) == ("event", name, task))
        payload: dict[str, Any] = word.line["payload"]
        return payload

    def raw(self, kind: str) -> dict[str, Any]:
        """Wait for one of the agent's own lines."""
        return self.until(lambda word: (word.kind, word.name) == ("raw", kind)).line

    def until(self, fits: Any) -> Word:
        """Take words until one fits; what was seen and not taken yet comes first, and is passed over."""
        while True:
            while self._read < len(self.words):
                self._read += 1
                if fits(self.words[self._read - 1]):
                    return self.words[self._read - 1]
            self.words.append(file(self.host.line()))

    def open(self, task: str, **payload: Any) -> Any:
        """Open a task and make it active."""
        result = self.call("create_or_open_task", taskId=task, **payload)
        assert self.call("switch_task", taskId=task) == {"status": "switching", "taskId": task}
        self.event("task_ready", task)
        return result

    def turn(self, task: str, message: str) -> list[Word]:
        """Prompt and wait for the end; give everything that was said meanwhile."""
        began = len(self.words)
        self.call("prompt", message=message)
        self.event("agent_end", task)
        return self.words[began:]

    def task(self, task: str) -> dict[str, Any]:
        """Give a task as `runtime_get_state` tells it."""
        tasks: list[dict[str, Any]] = self.call("runtime_get_state")["tasks"]
        return next(one for one in tasks if one["taskId"] == task)


def file(line: dict[str, Any]) -> Word:
    """Say what a line is to this host."""
    if isinstance(line.get("ok"), bool):
        return Word("answer", "", line)
    if line.get("type") == "event":
        return Word("event", line["event"], line)
    return Word("raw", str(line.get("type")), line)


def texts(words: list[Word]) -> list[tuple[str, str]]:
    """Give the pieces of the answer as they were told, each with the kind of line that told it."""
    found = []
    for word in words:
        if word.name == "agent_output":
            found.append((word.kind, word.line["payload"]["chunk"]))
        elif word.name == "message_update":
            event = word.line["assistantMessageEvent"]
            if event["type"] == "text_delta":
                found.append((word.kind, event["delta"]))
    return found


def dump(words: list[Word]) -> str:
    """Give everything as text, to look for a mark in it."""
    return json.dumps([word.line for word in words], ensure_ascii=False)
