"""P0 from the host's side. On this channel the active agent's own lines stand between the daemon's.

The daemon's lines are known by `type: "event"`, or by `ok` without a `type`, as the hosts of the replaced system know
them; any other object is the agent's. What an agent writes is never trusted: a host that acts on events should speak
JSON-RPC, where an agent has no line of its own.
"""

from typing import Any, Final

import msgspec

from taskd.model.errors import Code, TaskdError
from taskd.wire.envelope import RequestId
from taskd.wire.host import EMPTY, Answered, Garbled, Heard, HostParams, RawAgentLine, Refused, Told, unreadable
from taskd.wire.jsonline import encode, parse
from taskd.wire.piwork import COMMANDS


class _Error(msgspec.Struct, frozen=True):
    code: str = Code.INTERNAL_ERROR.value
    message: str = ""
    retryable: bool = False
    details: dict[str, Any] = {}


class _Line(msgspec.Struct, frozen=True, rename={"task_id": "taskId"}):
    type: str = ""
    event: str = ""
    timestamp: str = ""
    task_id: str | None = None
    payload: msgspec.Raw = EMPTY
    id: RequestId = None
    ok: bool | None = None
    result: msgspec.Raw = EMPTY
    error: msgspec.Raw = EMPTY


_LINE: Final = msgspec.json.Decoder(_Line)
_ERROR: Final = msgspec.json.Decoder(_Error)
_NAMES: Final = {command.method: name for name, command in COMMANDS.items()}


class PiworkTongue:
    """P0 as a host speaks it. What is an object but neither answer nor event is the agent's own line."""

    name = "p0"

    def ask(self, id: str, method: str, params: HostParams = EMPTY) -> bytes:
        """Give the line of a request, by P0's name for the method where it has one."""
        payload = encode(params)
        if method == "answer":
            payload = _answer_payload(payload)
        command = _NAMES.get(method, method)
        return b'{"id":%b,"type":%b,"payload":%b}\n' % (encode(id), encode(command), payload)

    def hear(self, line: bytes) -> list[Heard]:
        """Say what a line means."""
        try:
            return [_heard(parse(line, _LINE), line)]
        except msgspec.ValidationError as error:
            is_object = line.lstrip().startswith(b"{")
            return [RawAgentLine(line) if is_object else Garbled(line, str(error))]
        except TaskdError as error:
            return unreadable(line, error)


def _heard(entry: _Line, line: bytes) -> Heard:
    if entry.type == "event" and entry.event:
        return Told(entry.event, None, entry.timestamp, entry.task_id, entry.payload)
    if entry.ok is None or entry.type:
        return RawAgentLine(line)
    if entry.ok:
        return Answered(entry.id, entry.result)
    return _refused(entry)


def _refused(entry: _Line) -> Refused:
    try:
        error = _ERROR.decode(entry.error)
    except msgspec.ValidationError as reason:
        # The call has failed whatever the error looks like, and someone waits for it.
        error = _Error(message=f"the error of the answer is malformed: {reason}")
    return Refused(entry.id, error.code, error.message, error.retryable, error.details)


def _answer_payload(payload: bytes) -> bytes:
    members = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
    members["id"] = members.pop("requestId", msgspec.Raw(b"null"))
    return encode(members)
