"""P0, the dialect of the system that this one replaces, from the daemon's side.

Requests are `{id, type, payload}`, all three required; answers `{id, ok, result}` or `{id, ok, error}`; events
`{type: "event", event, timestamp, taskId, payload}`. Its hosts know some commands by other names than ours and read
their results in other shapes; `COMMANDS` is the whole list. Every native method can be called too, by its own name.

P0 has one code for a request that is no good, and hosts that know only that one: what is finer in JSON-RPC is shown as
`INVALID_REQUEST`. An answer to a line that is no JSON has no id at all, one to a request without an id has `id: null`.

Like JSON-RPC's, the first decode is a typed one, and `_unusual` names what it refuses; of a field that is there twice
the last one counts in both.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from taskd.model.errors import Code, TaskdError
from taskd.model.events import EVENTS
from taskd.model.ids import MAX_OPAQUE_ID_LENGTH
from taskd.wire.envelope import Answer, Call, Fault, RequestId, Stamped
from taskd.wire.jsonline import encode, parse


class _Request(msgspec.Struct, frozen=True):
    id: str
    type: str
    payload: msgspec.Raw


_Members = dict[str, msgspec.Raw]
_REQUEST: Final = msgspec.json.Decoder(_Request)
_MEMBERS: Final = msgspec.json.Decoder(_Members)
_TEXT: Final = msgspec.json.Decoder(str)
_ANYTHING: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(
    list[msgspec.Raw] | _Members | str | int | float | bool | None
)
_OBJECT: Final = ord("{")
_NULL: Final = msgspec.Raw(b"null")

_SHOWN: Final = {
    Code.PARSE_ERROR: Code.INVALID_REQUEST,
    Code.METHOD_NOT_FOUND: Code.INVALID_REQUEST,
    Code.INVALID_PARAMS: Code.INVALID_REQUEST,
}
_UNREADABLE: Final = frozenset({Code.PARSE_ERROR, Code.LINE_TOO_LONG})
"""Errors of lines of which nothing was understood, not even whether they had an id."""


_MARKS: Final = (b'"ok"', b'"event"', rb"\u006", rb"\u007", b"\r")
"""One of these is in each line of an agent that a host could take for the daemon's: the words, letters of them written
as escapes, and the byte at which some readers end a line too."""


class Piwork:
    """One channel's P0. It keeps nothing from line to line."""

    name = "p0"
    raw_lines = True
    stop_event_first = True
    newest_drives = True
    idempotency_scope: str | None = "p0"

    def read(self, line: bytes) -> list[Call | Fault]:
        """Take one line; a blank one is nothing."""
        try:
            request = parse(line, _REQUEST)
            return [_call(request.id, request.type, request.payload)]
        except msgspec.ValidationError:
            return self._read_unusual(line)
        except TaskdError as error:
            return [] if not line or line.isspace() else [Fault(self.fault(None, error))]

    def answer(self, call: Call, result: Answer) -> bytes:
        """Give the line of a result, in the shape that hosts of the called command read."""
        command = COMMANDS.get(call.alias)
        shown = command.shape(result) if command and command.shape else result
        return b'{"id":%b,"ok":true,"result":%b}\n' % (_token(call), encode(shown))

    def refuse(self, call: Call, error: TaskdError) -> bytes:
        """Give the line of an error."""
        return _refusal(b'"id":%b,' % _token(call), error)

    def fault(self, id: RequestId, error: TaskdError) -> bytes:
        """Give the line for an error that belongs to no call."""
        if id is None and error.code in _UNREADABLE:
            return _refusal(b"", error)
        return _refusal(b'"id":%b,' % encode(id), error)

    def event(self, stamped: Stamped) -> bytes:
        """Give the line of an event. P0 does not know event numbers."""
        head = _EVENT_HEADS.get(stamped.name) or _event_head(stamped.name)
        return b'%b%b","taskId":%b,"payload":%b}\n' % (
            head,
            stamped.at.encode(),
            encode(stamped.task_id),
            stamped.body,
        )

    def raw(self, lines: list[bytes]) -> bytes:
        """Give the agent's lines as they are, but for those that a host could take for ours."""
        block = b"\n".join(lines)
        if any(mark in block for mark in _MARKS):
            block = b"\n".join([line for line in lines if not _passes_for_ours(line)])
        return block + b"\n" if block else b""

    def _read_unusual(self, line: bytes) -> list[Call | Fault]:
        try:
            return [_unusual(parse(line, _ANYTHING))]
        except msgspec.ValidationError:
            return [_unusual(None)]
        except TaskdError as error:
            return [Fault(self.fault(None, error))]


def _call(id: str, type: str, payload: msgspec.Raw) -> Call | Fault:
    """Check what the three fields say, with the messages that P0's hosts have seen."""
    name = type.strip()
    if not id or id.isspace():
        return _invalid(None, "Request id is required")
    if len(id) > MAX_OPAQUE_ID_LENGTH:
        return _invalid(None, f"Request id is longer than {MAX_OPAQUE_ID_LENGTH} characters")
    if not name:
        return _invalid(id, "Request type is required")
    if memoryview(payload)[0] != _OBJECT:
        return _invalid(id, "Request payload must be an object")
    command = COMMANDS.get(name)
    if command is None:
        return Call(id, name, payload, id_token=encode(id))
    params = command.params(payload) if command.params else payload
    return Call(id, command.method, params, id_token=encode(id), alias=name)


def _unusual(shape: Any) -> Call | Fault:
    if not isinstance(shape, dict):
        return _invalid(None, "Request must be an object")
    return _call(_text(shape.get("id")), _text(shape.get("type")), shape.get("payload", msgspec.Raw(b"null")))


def _text(value: msgspec.Raw | None) -> str:
    try:
        return _TEXT.decode(value) if value else ""
    except msgspec.ValidationError:
        return ""


def _invalid(id: str | None, message: str) -> Fault:
    return Fault(_refusal(b'"id":%b,' % encode(id), TaskdError(Code.INVALID_REQUEST, message)))


def _token(call: Call) -> bytes:
    return call.id_token or encode(call.id)


def _refusal(id: bytes, error: TaskdError) -> bytes:
    body = {
        "code": _SHOWN.get(error.code, error.code),
        "message": error.message,
        "retryable": error.retryable,
        "details": error.details,
    }
    return b'{%b"ok":false,"error":%b}\n' % (id, encode(body))


def _passes_for_ours(line: bytes) -> bool:
    """Say whether a host could take an agent's line for an answer or an event.

    Hosts read as JavaScript does: the last of equal keys counts, and an escaped letter is that letter.
    """
    try:
        shape = parse(line, _ANYTHING)
    except (TaskdError, msgspec.ValidationError):
        return True
    return not isinstance(shape, dict) or "ok" in shape or _text(shape.get("type")) == "event" or b"\r" in line


def _event_head(name: str) -> bytes:
    return b'{"type":"event","event":%b,"timestamp":"' % encode(name)


_EVENT_HEADS: Final = {name: _event_head(name) for name in EVENTS}


# The commands that have another name or shape here --------------------------------------------------------------------


class Command(NamedTuple):
    """A command of P0: the native method, and how its payload and its result differ from that method's."""

    method: str
    params: Callable[[msgspec.Raw], msgspec.Raw] | None = None
    shape: Callable[[Answer], Answer] | None = None


def _open_params(payload: msgspec.Raw) -> msgspec.Raw:
    """Take `workingFolderRelative: null`, by which these hosts say the task's own folder, as we say that."""
    members = _MEMBERS.decode(payload)
    if members.get("workingFolderRelative") == _NULL and members.get("workingFolder", _NULL) == _NULL:
        members["workingFolder"] = msgspec.Raw(b'""')
    return msgspec.Raw(encode(members))


def _answer_params(payload: msgspec.Raw) -> msgspec.Raw:
    """Take pi's `{id, value | confirmed | cancelled}`; P0's own page shows `answer` for `value`."""
    members = _MEMBERS.decode(payload)
    for theirs, ours in (("id", "requestId"), ("answer", "value")):
        if theirs in members:
            members.setdefault(ours, members.pop(theirs))
    return msgspec.Raw(encode(members))


def _models(result: Answer) -> Answer:
    return {"models": [_named(model) for model in _plain(result).get("models", [])]}


def _model(result: Answer) -> Answer:
    model = _named(_plain(result))
    return {field: model.get(field) for field in ("id", "name", "provider")}


def _nothing(result: Answer) -> Answer:
    return {}


def _named(model: dict[str, Any]) -> dict[str, Any]:
    return {**model, "name": model.get("name") or model.get("id")}


def _plain(result: Answer) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(encode(result))
    return plain


COMMANDS: Final[dict[str, Command]] = {
    "create_or_open_task": Command("create_or_open_task", params=_open_params),
    "runtime_get_state": Command("get_state"),
    "runtime_diag": Command("diag"),
    "pi_get_available_models": Command("list_models", shape=_models),
    "pi_set_model": Command("set_model", shape=_model),
    "extension_ui_response": Command("answer", params=_answer_params, shape=_nothing),
}
"""What P0 calls or writes otherwise than we do; all other names are the native ones."""
