"""The table of methods: one row each, for every dialect and transport.

A row says which params a method takes and who answers: the machine (a stimulus), or a function here that reads. Calls
that change something are remembered by their request id, so that sending one twice has one effect.
"""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec
import structlog

from taskd.core.stimuli import Asked, Origin
from taskd.edge.queries import Queries
from taskd.model import calls
from taskd.model.calls import Params, Result
from taskd.model.errors import Code, TaskdError
from taskd.model.ids import MAX_OPAQUE_ID_LENGTH, ChannelId
from taskd.services.supervisor import Answerer, Supervisor
from taskd.wire.dialect import Dialect
from taskd.wire.envelope import Call

LONGEST_PLAIN_FINGERPRINT = 128
"""Params up to this many bytes are their own fingerprint; longer ones are hashed."""


class Session:
    """Who speaks on a channel. `peer` is for logs; `scope` keeps its request ids apart from those of others."""

    __slots__ = ("admitted", "peer", "scope")

    def __init__(self, peer: str, channel: ChannelId, *, admitted: bool) -> None:
        self.peer = peer
        self.admitted = admitted
        self.scope = f"channel-{channel}"


class Caller(Protocol):
    """The channel that calls."""

    channel: ChannelId
    session: Session


class Method(NamedTuple):
    """A row of the table."""

    params: type[Params]
    result: type[Result]
    summary: str
    query: str | None = None
    """The method of `Queries` that answers; None: the machine does."""
    idempotent: bool = False
    open: bool = False
    """May be called before the token is shown."""


def _machine(params: type[Params], result: type[Result], summary: str) -> Method:
    return Method(params, result, summary, idempotent=True)


# fmt: off
METHODS: dict[str, Method] = {
    "initialize": Method(calls.Initialize, calls.InitializeResult,
        "Say who is there and what it can do; on TCP, show the token.", "initialize", open=True),
    "authenticate": Method(calls.Authenticate, calls.AuthenticateResult,
        "Show the token, in a dialect without initialize.", "authenticate", open=True),
    "ping": Method(calls.Ping, calls.PingResult, "A sign of life.", "ping", open=True),
    "get_state": Method(calls.GetState, calls.StateResult, "All tasks and the active one.", "get_state"),
    "get_task": Method(calls.GetTask, calls.TaskView, "One task.", "get_task"),
    "get_session": Method(calls.GetSession, calls.SessionResult, "A task's completed turns.", "get_session"),
    "diag": Method(calls.Diag, calls.DiagResult, "Facts that help to find a fault.", "diag"),
    "create_or_open_task": _machine(calls.CreateOrOpenTask, calls.OpenResult,
        "Create, resume or recover a task; answers when its agent has answered."),
    "switch_task": _machine(calls.SwitchTask, calls.SwitchResult, "Make a task the active one."),
    "prompt": _machine(calls.Prompt, calls.PromptResult, "Start a turn in the active task."),
    "steer": _machine(calls.Steer, calls.SayResult, "Say something to the running turn."),
    "follow_up": _machine(calls.FollowUp, calls.SayResult, "Queue a message for the end of the running turn."),
    "abort": _machine(calls.Abort, calls.AbortResult, "End the running turn."),
    "stop_task": _machine(calls.StopTask, calls.StopResult, "Stop a task's agent; the session stays."),
    "list_models": Method(calls.ListModels, calls.ModelsResult, "The models that the agent can use."),
    "set_model": _machine(calls.SetModel, calls.SetModelResult, "Use another model."),
    "answer": _machine(calls.Answer, calls.AnswerResult, "Answer an agent's question."),
    "system_bash": _machine(calls.SystemBash, calls.BashResult, "Run a shell command for the host."),
    "take_driver": _machine(calls.TakeDriver, calls.DriverResult, "Take the driver lease."),
    "release_driver": _machine(calls.ReleaseDriver, calls.DriverResult, "Give the driver lease back."),
    "shutdown": _machine(calls.Shutdown, calls.Done, "Stop the daemon in order."),
}
# fmt: on

_DECODERS: dict[str, Callable[[bytes], Params]] = {
    name: msgspec.json.Decoder(method.params).decode for name, method in METHODS.items()
}
_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class Methods:
    """Calls of all channels.

    Args:
        supervisor: takes what the machine decides.
        queries: answers the rest.
    """

    def __init__(self, supervisor: Supervisor, queries: Queries) -> None:
        self._supervisor = supervisor
        self._queries = queries

    def call(self, caller: Caller, dialect: Dialect, call: Call, answer: Answerer) -> None:
        """Carry out one call; `answer` is called exactly once, now or later."""
        try:
            self._call(caller, dialect, call, answer)
        except TaskdError as error:
            answer(error)
        except Exception as error:
            structlog.get_logger("taskd.methods").exception("a call failed", method=call.method[:64])
            answer(TaskdError(Code.INTERNAL_ERROR, f"{call.method[:64]} failed: {error}"))

    def _call(self, caller: Caller, dialect: Dialect, call: Call, answer: Answerer) -> None:
        method = METHODS.get(call.method)
        if method is None:
            raise _unknown(call.method)
        if not (method.open or caller.session.admitted):
            raise TaskdError(Code.UNAUTHENTICATED, "show the token first, in initialize or authenticate")
        params = _decode(call)
        if method.query is not None:
            self._queries.ask(method.query, caller, params, answer)
            return
        origin = Origin(
            call=self._supervisor.expect(answer),
            channel=caller.channel,
            key=_key(caller, dialect, call) if method.idempotent else None,
            fingerprint=_fingerprint(call) if method.idempotent else "",
            stop_event_first=dialect.stop_event_first,
            newest_drives=dialect.newest_drives,
        )
        self._supervisor.submit(Asked(origin, params))


def _decode(call: Call) -> Params:
    try:
        return _DECODERS[call.method](call.params)
    except msgspec.ValidationError as error:
        raise TaskdError(Code.INVALID_PARAMS, f"{call.method}: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TaskdError(Code.PARSE_ERROR, f"{call.method}: {error}") from error


def _key(caller: Caller, dialect: Dialect, call: Call) -> str | None:
    if call.id is None:
        return None
    if isinstance(call.id, str) and len(call.id) > MAX_OPAQUE_ID_LENGTH:
        raise TaskdError(Code.INVALID_REQUEST, f"the request id is longer than {MAX_OPAQUE_ID_LENGTH} characters")
    return f"{dialect.idempotency_scope or caller.session.scope}:{call.id!r}"


def _fingerprint(call: Call) -> str:
    """Stand for method and params, key order aside."""
    body = _sorted(bytes(call.params)) if len(call.params) > 2 else b""
    if len(body) > LONGEST_PLAIN_FINGERPRINT:
        body = hashlib.sha256(body).digest()
    return f"{call.method}\n{body.decode('latin-1')}"


def _sorted(params: bytes) -> bytes:
    try:
        return _encode_sorted(msgspec.json.decode(params))
    except (msgspec.MsgspecError, ValueError):
        # A field that the method does not know may hold what Python cannot: 1e999, or half a surrogate pair.
        return params


def _unknown(name: str) -> TaskdError:
    import difflib

    near = difflib.get_close_matches(name, METHODS, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    details: dict[str, Any] = {"method": name[:MAX_OPAQUE_ID_LENGTH], "known": sorted(METHODS)}
    return TaskdError(Code.METHOD_NOT_FOUND, f"no method {name[:64]!r}{hint}", details=details)
