"""A host that says the same in either dialect, on top of a channel of bytes. Waits are bounded by the channel's.

speaker = Speaker(daemon.connect(), "p0")
speaker.call("create_or_open_task", taskId="a")
"""

import itertools
import json
from typing import Any

from taskd.model.errors import Code
from taskd.wire.registry import TONGUES
from tests.kit.daemon import Host, Refused, event_name, event_task

_NUMBERS = itertools.count(1)
"""Ids of P0 belong to the daemon, so no two calls of a test run share one."""

_COARSE = {Code.PARSE_ERROR, Code.METHOD_NOT_FOUND, Code.INVALID_PARAMS}


class Speaker:
    """One channel and its tongue.

    Args:
        host: the channel.
        dialect: `jsonrpc` or `p0`.
    """

    def __init__(self, host: Host, dialect: str) -> None:
        self.host = host
        self.dialect = dialect
        self._tongue = TONGUES[dialect]()

    def ask(self, method: str, /, **params: Any) -> str:
        """Send a request; give its id."""
        id = f"call-{next(_NUMBERS)}"
        self.host.send_bytes(self._tongue.ask(id, method, params))
        return id

    def answer(self, id: str) -> Any:
        """Wait for the result of a request.

        Raises:
            Refused: the answer was an error.
        """
        line = next((line for line in self.host.seen if _answers(line, id)), None)
        while line is None:
            heard = self.host.line()
            line = heard if _answers(heard, id) else None
        if "error" in line:
            raise Refused(line["error"])
        return line["result"]

    def call(self, method: str, /, **params: Any) -> Any:
        """Call and wait; raises Refused."""
        return self.answer(self.ask(method, **params))

    def refusal(self, method: str, /, **params: Any) -> str:
        """Call, expecting an error; give its code."""
        try:
            result = self.call(method, **params)
        except Refused as refused:
            return str(refused.code)
        raise AssertionError(f"{method} was not refused: {result}")

    def fault(self, line: bytes) -> str:
        """Send a line that is no request; give the code of the answer to it, which belongs to no call."""
        self.host.send_bytes(line + b"\n")
        return self.faults(1)[0]

    def faults(self, count: int) -> list[str]:
        """Wait for that many answers that belong to no call; give their codes."""
        found: list[str] = []
        while len(found) < count:
            line = self.host.line()
            if "error" in line and line.get("id") is None:
                found.append(Refused(line["error"]).code)
        return found

    def event(self, name: str, task: str | None = None) -> dict[str, Any]:
        """Wait for an event; give its own fields."""
        line = self.host.until(lambda line: event_name(line) == name and task in (None, event_task(line)))
        fields: dict[str, Any] = line["payload"] if line.get("type") == "event" else line["params"]
        return fields

    def names(self) -> list[str]:
        """Give what was seen as words: event names, `raw` for an agent's own lines, `answer` and `error`."""
        return [self._word(line) for line in self.host.seen]

    def open(self, task: str, **params: Any) -> Any:
        """Open a task and make it active."""
        result = self.call("create_or_open_task", taskId=task, **params)
        self.call("switch_task", taskId=task)
        self.event("task_ready", task)
        return result

    def turn(self, message: str) -> str:
        """Prompt and wait for the end; give the whole output."""
        began = len(self.host.seen)
        self.call("prompt", message=message)
        self.event("agent_end")
        lines = [line for line in self.host.seen[began:] if event_name(line) == "agent_output"]
        return "".join((line.get("payload") or line["params"])["chunk"] for line in lines)

    def shown(self, code: Code) -> str:
        """Give the code that hosts of this dialect see for one of ours."""
        return "INVALID_REQUEST" if self.dialect == "p0" and code in _COARSE else code.value

    def _word(self, line: dict[str, Any]) -> str:
        if name := event_name(line):
            return "raw" if self.dialect == "p0" and line.get("type") != "event" else name
        if self.dialect == "p0" and "ok" not in line:
            return "raw"
        return "error" if "error" in line else "answer"


def plain(value: Any) -> bytes:
    """Give a value as JSON with its characters as they are, not escaped."""
    return json.dumps(value, ensure_ascii=False).encode()


def _answers(line: dict[str, Any], id: str) -> bool:
    return line.get("id") == id and ("result" in line or "error" in line)
