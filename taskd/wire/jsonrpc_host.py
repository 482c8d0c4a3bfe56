"""JSON-RPC 2.0 from the host's side. Answers to a batch come as one array, and are heard one by one.

A daemon of another make may leave `error.data` out or fill it as it likes; the standard's number stands in then.
"""

from typing import Any, Final

import msgspec

from taskd.model.errors import ERRORS, TaskdError
from taskd.wire.envelope import RequestId
from taskd.wire.host import EMPTY, Answered, Garbled, Heard, HostParams, Refused, Told, unreadable
from taskd.wire.jsonline import encode, parse

_ABSENT: Final = msgspec.Raw(b"")
_CODES: Final = {info.number: code for code, info in ERRORS.items()}


class _ErrorData(msgspec.Struct, frozen=True):
    code: str
    retryable: bool = False
    details: dict[str, Any] = {}


class _Error(msgspec.Struct, frozen=True):
    code: int
    message: str
    data: msgspec.Raw = _ABSENT


class _Line(msgspec.Struct, frozen=True):
    method: str = ""
    params: msgspec.Raw = EMPTY
    id: RequestId = None
    result: msgspec.Raw = _ABSENT
    error: _Error | None = None


class _Stamp(msgspec.Struct, frozen=True, rename="camel"):
    seq: int | None = None
    at: str = ""
    task_id: str | None = None


_LINE: Final = msgspec.json.Decoder(_Line)
_LINES: Final = msgspec.json.Decoder(list[_Line])
_STAMP: Final = msgspec.json.Decoder(_Stamp)
_ERROR_DATA: Final = msgspec.json.Decoder(_ErrorData)


class JsonRpcTongue:
    """JSON-RPC 2.0 as a host speaks it."""

    name = "jsonrpc"

    def ask(self, id: str, method: str, params: HostParams = EMPTY) -> bytes:
        """Give the line of a request."""
        return b'{"jsonrpc":"2.0","id":%b,"method":%b,"params":%b}\n' % (encode(id), encode(method), encode(params))

    def hear(self, line: bytes) -> list[Heard]:
        """Say what a line means."""
        try:
            return [_heard(parse(line, _LINE), line)]
        except msgspec.ValidationError as error:
            return _hear_array(line) if line.lstrip().startswith(b"[") else [Garbled(line, str(error))]
        except TaskdError as error:
            return unreadable(line, error)


def _hear_array(line: bytes) -> list[Heard]:
    try:
        return [_heard(entry, line) for entry in parse(line, _LINES)]
    except msgspec.ValidationError as error:
        return [Garbled(line, str(error))]
    except TaskdError as error:
        return unreadable(line, error)


def _heard(entry: _Line, line: bytes) -> Heard:
    if entry.method:
        stamp = _STAMP.decode(entry.params)
        return Told(entry.method, stamp.seq, stamp.at, stamp.task_id, entry.params)
    if entry.error is not None:
        return _refused(entry.id, entry.error)
    if entry.result:
        return Answered(entry.id, entry.result)
    return Garbled(line, "neither an answer nor an event")


def _refused(id: RequestId, error: _Error) -> Refused:
    code, retryable, details = str(_CODES.get(error.code, error.code)), False, dict[str, Any]()
    try:
        data = _ERROR_DATA.decode(error.data)
        code, retryable, details = data.code, data.retryable, data.details
    except msgspec.DecodeError:
        # The standard leaves `data` to each server, so this one is another program, or there is no data.
        pass
    return Refused(id, code, error.message, retryable, details)
