"""The bytes of `session.json` and `task.json`: an envelope with a checksum, and what may be done to a session in it.

    {"format":"taskd-session","version":1,"sha256":"<hex of the body's bytes>","body":{"turns":[...],...}}\n

One line, in exactly this form, the body a `Session` with its turns first. The checksum is over the body's bytes as they
stand, so it is verified before the body is decoded and needs no canonical form; a torn, blank or patched file never
decodes by luck. `version` is that of the envelope: a file of a newer one is told apart from a broken one, so that
nobody repairs it away. No I/O here.

The turns stand first and are passed from file to file as bytes, so that a turn costs no decoding, encoding or hashing
of the ones before it: the digest goes on from where it was, and only what follows the turns is new each time.
"""

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from taskd.model.agent import Block
from taskd.model.records import RECORD_VERSION, Message, NativeMark, Session, TaskRecord, Turn

if TYPE_CHECKING:
    from hashlib import _Hash

SESSION_FORMAT: Final = "taskd-session"
TASK_FORMAT: Final = "taskd-task"
VERSION: Final = 1
GLANCE_BYTES: Final = 64 << 10
"""How much of the end of a long session.json is read to list it; everything but the turns fits well."""

_VERSION: Final = re.compile(rb'\{"format":"([a-z-]{1,40})","version":(\d{1,9})[,}]')
_SEAL: Final = re.compile(rb'\{"format":"[a-z-]{1,40}","version":\d{1,9},"sha256":"([0-9a-f]{64})","body":')
_TURNS: Final = b'{"turns":['
_REST: Final = b'],"version":'
"""What follows the turns. Quotes inside JSON strings are escaped and nothing behind the turns is a list, so the last
such bytes of a file are the session's own."""
_NO_TURNS: Final = b',"turns":[]}'
_END: Final = b"}}\n"
_OPEN: Final = b"[" * 256
_CLOSE: Final = b"]" * 256
"""Nesting that a turn must bear before it is written: more than the file and any caller's stack add when it is read."""
_FAULTS: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""What msgspec raises for bytes or values that it cannot take."""

_encode: Final = msgspec.json.Encoder().encode


class Unreadable(Exception):
    """These bytes are no whole file of ours; `reason` is one of a few words for machines."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Newer(Unreadable):
    """A file that a newer daemon wrote. It is good, and must not be touched by this one."""

    def __init__(self, version: int) -> None:
        super().__init__(f"version {version}")
        self.version = version


class Stored(NamedTuple):
    """A session as it is stored."""

    session: Session
    """Everything but the turns; its own list of them is empty."""
    turns: bytes | memoryview = b""
    """The turns' JSON, separated by commas."""
    added: bytes = b""
    """More of the same, with the comma between; not joined, since copying the rest holds the interpreter."""
    hasher: "_Hash | None" = None
    """The digest of the body up to the end of the turns, to go on from."""


class _Body(msgspec.Struct, frozen=True):
    version: int = 1


_version: Final = msgspec.json.Decoder(_Body).decode
_session: Final = msgspec.json.Decoder(Session).decode
_record: Final = msgspec.json.Decoder(TaskRecord).decode
_turn: Final = msgspec.json.Decoder(Turn).decode
_raw_turns: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


def encode_session(stored: Stored) -> list[bytes | memoryview]:
    """Give the whole file in pieces."""
    rest = b"]," + _encode(stored.session)[1:].removesuffix(_NO_TURNS) + b"}"
    hasher = stored.hasher.copy() if stored.hasher else _digest(stored)
    hasher.update(rest)
    return [_seal(SESSION_FORMAT, hasher) + _TURNS, stored.turns, stored.added, rest, b"}\n"]


def encode_record(record: TaskRecord) -> bytes:
    """Give the whole file."""
    body = _encode(record)
    return _seal(TASK_FORMAT, sha256(body)) + body + b"}\n"


def decode_session(data: bytes, task_id: str) -> Stored:
    """Take the session of this task out of a whole file; raises `Unreadable` or `Newer`."""
    start, digest = _unseal(data, SESSION_FORMAT)
    cut = data.rfind(_REST, start)
    if cut < 0 or not data.startswith(_TURNS, start):
        cut = start
    view = memoryview(data)
    hasher = sha256(view[start:cut])
    whole = hasher.copy()
    whole.update(view[cut:-2])
    _check_digest(whole, digest)
    if cut == start:
        _check_version(data[start:-2])
        raise Unreadable("schema")
    session = _decode_rest(data[cut:-2], task_id)
    return Stored(session, view[start + len(_TURNS) : cut], hasher=hasher)


def decode_unchanged(data: bytes, known: Stored) -> Stored | None:
    """Take the session out of the very file that was written of `known`, whose own turns were let go of."""
    seal, cut = _SEAL.match(data), data.rfind(_REST)
    if not seal or cut < 0:
        return None
    return known._replace(turns=memoryview(data)[seal.end() + len(_TURNS) : cut])


def decode_record(data: bytes, task_id: str) -> TaskRecord:
    """Take the record of this task out of a whole file; raises `Unreadable` or `Newer`."""
    start, digest = _unseal(data, TASK_FORMAT)
    body = data[start:-2]
    _check_digest(sha256(body), digest)
    _check_version(body)
    try:
        record = _record(body)
    except _FAULTS:
        raise Unreadable("schema") from None
    if record.task_id != task_id:
        raise Unreadable("other_task")
    return record


def glance(head: bytes, tail: bytes, task_id: str) -> Session | None:
    """Read a session without its turns from the first bytes and the last `GLANCE_BYTES` of a file, unverified.

    Returns None when these do not look whole; the caller then reads the file properly. For lists only.
    """
    seal, cut = _SEAL.match(head), tail.rfind(_REST)
    if not seal or not head.startswith(_start(SESSION_FORMAT)) or cut < 0 or not tail.endswith(_END):
        return None
    try:
        return _decode_rest(tail[cut:-2], task_id)
    except Unreadable:
        return None


def has_turn(stored: Stored, turn_id: str) -> bool:
    """Say whether the turn is in the session."""
    start = b'{"turnId":' + _encode(turn_id) + b","
    # Only this house writes turns, and writes their id first. The same bytes may stand in a tool call's arguments, so
    # what is found is looked at properly; what is not found is not there.
    if start not in _joined(stored):
        return False
    return any(bytes(raw).startswith(start) for raw in _split(stored))


def with_turn(stored: Stored, turn: Turn, record: TaskRecord, native: NativeMark | None) -> Stored:
    """Give the session with this turn as its next one, numbered so, under the record's present settings."""
    turn = replace(turn, number=stored.session.turn_count + 1)
    session = replace(
        stored.session,
        saved_at=turn.ended_at,
        provider=record.provider,
        model=record.model,
        thinking_level=record.thinking_level,
        working_folder=record.working_folder,
        working_folder_relative=record.working_folder_relative,
        turn_count=turn.number,
        usage=stored.session.usage + turn.usage,
        native=native,
    )
    encoded = b"," + _encode_turn(turn) if stored.turns or stored.added else _encode_turn(turn)
    hasher = stored.hasher.copy() if stored.hasher else _digest(stored)
    hasher.update(encoded)
    return Stored(session, stored.turns, stored.added + encoded, hasher)


def fit(stored: Stored, limit: int) -> Stored:
    """Give the session such that its file has at most `limit` bytes.

    The oldest turns are left out first; the count and their numbers stay, so that a reader sees where they begin.
    Should the last turn alone be too long, its messages are replaced by one empty block marked `truncated`. The agent's
    own file has everything in either case.
    """
    excess = sum(map(len, encode_session(stored))) - limit
    if excess <= 0:
        return stored
    turns = [bytes(raw) for raw in _split(stored)]
    while excess > 0 and len(turns) > 1:
        excess -= len(turns.pop(0)) + 1
    if excess > 0 and turns:
        turns[-1] = _encode(_without_messages(_turn(turns[-1])))
    return Stored(stored.session, b",".join(turns))


def turns_from(stored: Stored, number: int) -> Session:
    """Give the session with its turns from `number` on (the first is 1), of those that are kept; still encoded."""
    turns = _split(stored)
    first_kept = stored.session.turn_count - len(turns) + 1
    return replace(stored.session, turns=turns[max(0, number - first_kept) :])


def empty_session(record: TaskRecord) -> Session:
    """Give the session of a task that has no completed turn; `saved_at` is empty."""
    return Session(
        task_id=record.task_id,
        agent=record.agent,
        saved_at="",
        provider=record.provider,
        model=record.model,
        thinking_level=record.thinking_level,
        working_folder=record.working_folder,
        working_folder_relative=record.working_folder_relative,
    )


def record_of(session: Session) -> TaskRecord:
    """Rebuild a lost record; when the task was created is not known any more, only when it was last saved."""
    return TaskRecord(
        task_id=session.task_id,
        agent=session.agent,
        created_at=session.saved_at,
        provider=session.provider,
        model=session.model,
        thinking_level=session.thinking_level,
        working_folder=session.working_folder,
        working_folder_relative=session.working_folder_relative,
    )


def _start(kind: str) -> bytes:
    return f'{{"format":"{kind}","version":{VERSION},'.encode()


def _digest(stored: Stored) -> "_Hash":
    hasher = sha256(_TURNS)
    hasher.update(stored.turns)
    hasher.update(stored.added)
    return hasher


def _joined(stored: Stored) -> bytes:
    return b"".join((stored.turns, stored.added))


def _seal(kind: str, hasher: "_Hash") -> bytes:
    return _start(kind) + f'"sha256":"{hasher.hexdigest()}","body":'.encode()


def _unseal(data: bytes, kind: str) -> tuple[int, bytes]:
    """Give where the body begins, and the digest that it must have; it ends two bytes before the file does."""
    if not data:
        raise Unreadable("blank")
    version, seal = _VERSION.match(data), _SEAL.match(data)
    if not version or version[1] != kind.encode():
        raise Unreadable("format")
    if int(version[2]) > VERSION:
        raise Newer(int(version[2]))
    if int(version[2]) < VERSION or not seal or not data.endswith(b"}\n"):
        raise Unreadable("torn")
    return seal.end(), seal[1]


def _check_digest(hasher: "_Hash", digest: bytes) -> None:
    if hasher.hexdigest().encode() != digest:
        raise Unreadable("checksum")


def _decode_rest(rest: bytes, task_id: str) -> Session:
    """Decode what follows the turns in a session's body."""
    body = b"{" + rest.removeprefix(b"],")
    _check_version(body)
    try:
        session = _session(body)
    except _FAULTS:
        raise Unreadable("schema") from None
    if session.task_id != task_id:
        raise Unreadable("other_task")
    return session


def _check_version(body: bytes) -> None:
    try:
        version = _version(body).version
    except _FAULTS:
        raise Unreadable("schema") from None
    if version > RECORD_VERSION:
        raise Newer(version)


def _split(stored: Stored) -> list[msgspec.Raw]:
    try:
        return _raw_turns(b"".join((b"[", stored.turns, stored.added, b"]")))
    except _FAULTS:
        raise Unreadable("schema") from None


def _encode_turn(turn: Turn) -> bytes:
    """Encode a turn so that it can be read back, whatever an agent put into it.

    Raw pieces (a tool call's arguments) are not checked by encoding: one that is no JSON, or nests too deep, would make
    the whole session unreadable. Such a turn loses its messages instead.
    """
    try:
        encoded = _encode(turn)
        msgspec.json.decode(_OPEN + encoded + _CLOSE)
    except _FAULTS:
        return _encode(_without_messages(turn))
    return encoded


def _without_messages(turn: Turn) -> Turn:
    mark = Message(role="assistant", content=(Block(type="text", truncated=True),))
    error = turn.error.encode(errors="replace").decode()
    return replace(turn, messages=(mark,), error=error)
