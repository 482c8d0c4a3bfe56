"""JSON-RPC 2.0, the native dialect, from the daemon's side.

Complete: requests, notifications, batches (one line of answers when the last of them is there), ids kept as they were
written. Narrowed in two places: params are an object (missing or null counts as `{}`; an array is `INVALID_PARAMS`),
and an id is a string or a number of bounded length, or null.

Errors carry `data: {code, retryable, details}` beside the standard's number. Events are notifications named after the
event, put together around their encoded body without decoding it.

The first decode is a typed one and takes what hosts write; whatever it refuses goes through `_read_unusual`, which
finds out what is wrong and with which id to say so. Both must agree on what a good request is.
"""

from typing import Any, Final, Literal

import msgspec

from taskd.model.errors import ERRORS, Code, TaskdError
from taskd.model.events import EVENTS
from taskd.model.ids import MAX_OPAQUE_ID_LENGTH
from taskd.wire.envelope import Answer, Call, Fault, RequestId, Stamped
from taskd.wire.jsonline import encode, parse

MAX_BATCH_CALLS: Final = 128
"""Entries of one batch; half of what a channel may have open (`Limits.pending_calls_per_channel`)."""

_ABSENT: Final = msgspec.Raw(b"")
_NO_PARAMS: Final = msgspec.Raw(b"{}")
_OBJECT, _ARRAY, _NULL = b"{[n"


class _Request(msgspec.Struct, frozen=True):
    jsonrpc: Literal["2.0"]
    method: str
    id: msgspec.Raw = _ABSENT
    params: msgspec.Raw = _NO_PARAMS


_Members = dict[str, msgspec.Raw]
_REQUEST: Final = msgspec.json.Decoder(_Request)
_ID: Final[msgspec.json.Decoder[RequestId]] = msgspec.json.Decoder(RequestId)
_ANYTHING: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(
    list[msgspec.Raw] | _Members | str | int | float | bool | None
)


class _Batch:
    """The answers of one batch that are there, and how many are missing."""

    __slots__ = ("answers", "missing")

    def __init__(self, answers: list[bytes], missing: int) -> None:
        self.answers = answers
        self.missing = missing


class JsonRpc:
    """One channel's JSON-RPC."""

    name = "jsonrpc"
    raw_lines = False
    stop_event_first = False
    newest_drives = False
    idempotency_scope: str | None = None

    def __init__(self) -> None:
        self._batches: dict[int, _Batch] = {}
        self._last_batch = 0

    def read(self, line: bytes) -> list[Call | Fault]:
        """Take one line; a blank one is nothing."""
        try:
            found = _call(parse(line, _REQUEST), None)
        except msgspec.ValidationError:
            return self._read_unusual(line)
        except TaskdError as error:
            return [] if not line or line.isspace() else [Fault(self.fault(None, error))]
        return _alone(found)

    def answer(self, call: Call, result: Answer) -> bytes:
        """Give the line of a result; empty for a notification, and while others of its batch are open."""
        if not call.wants_answer:
            return b""
        return self._deliver(call.batch, b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (_token(call), encode(result)))

    def refuse(self, call: Call, error: TaskdError) -> bytes:
        """Give the line of an error; empty as for `answer`."""
        if not call.wants_answer:
            return b""
        return self._deliver(call.batch, _error(_token(call), error))

    def fault(self, id: RequestId, error: TaskdError) -> bytes:
        """Give the line for an error that belongs to no call."""
        return _error(encode(id), error) + b"\n"

    def event(self, stamped: Stamped) -> bytes:
        """Give the notification of an event."""
        head = _EVENT_HEADS.get(stamped.name) or _event_head(stamped.name)
        task = b"" if stamped.task_id is None else b',"taskId":' + encode(stamped.task_id)
        stamp = b'%b%d,"at":"%b"%b' % (head, stamped.seq, stamped.at.encode(), task)
        if len(stamped.body) <= 2:
            return stamp + b"}}\n"
        # Joined: a merged delta is as long as what was read at once, and `%` would copy it four times.
        return b"".join((stamp, b",", memoryview(stamped.body)[1:], b"}\n"))

    def raw(self, lines: list[bytes]) -> bytes:
        """Give nothing: agents have no line of their own here."""
        return b""

    def _read_unusual(self, line: bytes) -> list[Call | Fault]:
        try:
            shape = parse(line, _ANYTHING)
        except msgspec.ValidationError:
            shape = None
        except TaskdError as error:
            return [Fault(self.fault(None, error))]
        if isinstance(shape, list):
            return self._read_batch(shape)
        return _alone(_unusual_call(shape, None))

    def _read_batch(self, entries: list[msgspec.Raw]) -> list[Call | Fault]:
        if not 0 < len(entries) <= MAX_BATCH_CALLS:
            reason = f"a batch has 1 to {MAX_BATCH_CALLS} entries, not {len(entries)}"
            return [Fault(self.fault(None, TaskdError(Code.INVALID_REQUEST, reason)))]
        self._last_batch += 1
        found = [_entry(entry, self._last_batch) for entry in entries]
        calls: list[Call | Fault] = [call for call in found if isinstance(call, Call)]
        batch = _Batch(
            answers=[answer for answer in found if isinstance(answer, bytes) and answer],
            missing=sum(isinstance(call, Call) and call.wants_answer for call in found),
        )
        if batch.missing:
            self._batches[self._last_batch] = batch
        elif batch.answers:
            calls.append(Fault(_array(batch.answers)))
        return calls

    def _deliver(self, number: int | None, answer: bytes) -> bytes:
        if number is None:
            return answer + b"\n"
        batch = self._batches[number]
        batch.answers.append(answer)
        batch.missing -= 1
        if batch.missing:
            return b""
        del self._batches[number]
        return _array(batch.answers)


def _alone(found: Call | bytes) -> list[Call | Fault]:
    if isinstance(found, Call):
        return [found]
    return [Fault(found + b"\n")] if found else []


def _call(request: _Request, batch: int | None) -> Call | bytes:
    """Give the call, or the error to answer with: `b""` when it is a notification's, which nobody hears of."""
    token, params = request.id, request.params
    wants_answer = bool(token)
    id_token = bytes(token)
    try:
        id = _checked_id(token) if wants_answer else None
    except TaskdError as error:
        return _error(b"null", error)
    start = memoryview(params)[0]
    if start == _NULL:
        params = _NO_PARAMS
    elif start == _ARRAY:
        refusal = TaskdError(Code.INVALID_PARAMS, "params are an object with named members here, not an array")
        return _error(id_token, refusal) if wants_answer else b""
    elif start != _OBJECT:
        return _error(id_token or b"null", TaskdError(Code.INVALID_REQUEST, "params must be an object"))
    return Call(id, request.method, params, wants_answer, batch, id_token)


def _entry(entry: msgspec.Raw, batch: int) -> Call | bytes:
    try:
        return _call(_REQUEST.decode(entry), batch)
    except msgspec.ValidationError:
        pass
    try:
        return _unusual_call(_ANYTHING.decode(entry), batch)
    except msgspec.ValidationError:
        return _unusual_call(None, batch)


def _unusual_call(shape: Any, batch: int | None) -> Call | bytes:
    """Look at what is no plain request. It may be one all the same: of a repeated key only the last one counts."""
    if not isinstance(shape, dict):
        return _error(b"null", TaskdError(Code.INVALID_REQUEST, "a request is an object"))
    try:
        return _call(_REQUEST.decode(encode(shape)), batch)
    except msgspec.ValidationError as error:
        token = shape.get("id", _ABSENT)
        return _error(_usable(token), TaskdError(Code.INVALID_REQUEST, f"not a JSON-RPC 2.0 request: {error}"))


def _checked_id(token: msgspec.Raw) -> RequestId:
    try:
        id = _ID.decode(token)
    except msgspec.ValidationError:
        raise TaskdError(Code.INVALID_REQUEST, "id must be a string, a number or null") from None
    if len(id if isinstance(id, str) else token) > MAX_OPAQUE_ID_LENGTH:
        raise TaskdError(Code.INVALID_REQUEST, f"id is longer than {MAX_OPAQUE_ID_LENGTH} characters")
    return id


def _usable(token: msgspec.Raw) -> bytes:
    try:
        _checked_id(token or msgspec.Raw(b"null"))
    except TaskdError:
        return b"null"
    return bytes(token) or b"null"


def _token(call: Call) -> bytes:
    return call.id_token or encode(call.id)


def _error(token: bytes, error: TaskdError) -> bytes:
    body = {
        "code": ERRORS[error.code].number,
        "message": error.message,
        "data": {"code": error.code, "retryable": error.retryable, "details": error.details},
    }
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (token, encode(body))


def _array(answers: list[bytes]) -> bytes:
    return b"[" + b",".join(answers) + b"]\n"


def _event_head(name: str) -> bytes:
    return b'{"jsonrpc":"2.0","method":%b,"params":{"seq":' % encode(name)


_EVENT_HEADS: Final = {name: _event_head(name) for name in EVENTS}
