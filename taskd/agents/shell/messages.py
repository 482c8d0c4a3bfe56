"""The shapes of pi's messages and events, 1.5 form. Pure: the clock is passed in as `now` (milliseconds since 1970).

Messages are built as plain dicts and encoded once by the caller; events that carry one are made from its encoded form.
Key sets and their order follow recorded transcripts of pi 1.5.2. Tokens and cost are zero: no model was asked.
"""

from __future__ import annotations

from .wire import Raw, array, encode, wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

PROVIDER = API = "builtin"
ABORTED = "Request was aborted"

_COST = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "total": 0}
_USAGE = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "totalTokens": 0, "cost": _COST}
_UPDATE = f'{{"type":"message_update","usage":{encode(_USAGE).decode()},"assistantMessageEvent":'

AGENT_START: Raw = b'{"type":"agent_start"}'
TURN_START: Raw = b'{"type":"turn_start"}'


def model(shell: str) -> dict[str, Any]:
    """The model object for one shell, as `set_model` and `get_state` show it."""
    return {
        "id": shell,
        "name": f"{shell} (built in)",
        "api": API,
        "provider": PROVIDER,
        "baseUrl": "",
        "reasoning": False,
        "input": ["text"],
        "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0},
        "contextWindow": 0,
        "maxTokens": 0,
    }


def user(text: str, now: int) -> dict[str, Any]:
    """A user message."""
    return {"role": "user", "content": [{"type": "text", "text": text}], "timestamp": now}


def assistant(shell: str, content: list[dict[str, Any]], stop: str, now: int) -> dict[str, Any]:
    """An assistant message; `stop` is pending, stop, toolUse, aborted or error."""
    return {
        "role": "assistant",
        "content": content,
        "api": API,
        "provider": PROVIDER,
        "model": shell,
        "usage": _USAGE,
        "stopReason": stop,
        "timestamp": now,
    }


def ended(message: dict[str, Any], started: int, error: str = "") -> dict[str, Any]:
    """`message` with what an ended assistant message has besides; its timestamp becomes `started`."""
    took = max(0, message["timestamp"] - started)
    message = {**message, "timestamp": started}
    return {**message, **({"errorMessage": error} if error else {}), "durationMs": took, "thinkingLevel": "off"}


def text_block(text: str) -> dict[str, Any]:
    """A text content block."""
    return {"type": "text", "text": text}


def tool_call(call: str, script: str) -> dict[str, Any]:
    """A content block that calls the bash tool."""
    return {"type": "toolCall", "id": call, "name": "bash", "arguments": {"command": script}}


def tool_result(call: str, text: str, code: int | None, took: int, now: int) -> dict[str, Any]:
    """The message that carries a tool's result back; `code` None: it has no exit code of its own."""
    return {
        "role": "toolResult",
        "toolCallId": call,
        "toolName": "bash",
        "content": [text_block(text)],
        **({"details": {}} if code is None else {}),
        "isError": code != 0,
        "durationMs": took,
        "timestamp": now,
    }


def message_start(message: Raw) -> Raw:
    """The event that opens a message."""
    return wrap('{"type":"message_start","message":', message)


def message_end(message: Raw) -> Raw:
    """The event that closes a message."""
    return wrap('{"type":"message_end","message":', message)


def update(**event: Any) -> Raw:
    """A message_update around one assistantMessageEvent."""
    return wrap(_UPDATE, encode(event))


def turn_end(message: Raw, results: Iterable[Raw] = ()) -> Raw:
    """The end of one answer, with the results of the tools that it called."""
    return b'{"type":"turn_end","message":' + message + b',"toolResults":' + array(results) + b"}"


def agent_end(messages: Iterable[Raw]) -> Raw:
    """The end of a run, with the messages made in it."""
    return wrap('{"type":"agent_end","messages":', array(messages), ',"willRetry":false}')


def settled(aborted: bool) -> Raw:
    """Nothing more comes of this prompt."""
    return encode({"type": "agent_settled", "aborted": aborted})


def queue_update(steering: list[str], follow_up: list[str]) -> Raw:
    """What waits in the two queues now."""
    return encode({"type": "queue_update", "steering": steering, "followUp": follow_up})


def tool_event(kind: str, call: str, args: dict[str, str] | None = None, **rest: Any) -> Raw:
    """A tool_execution_* event; `args` are repeated in start and update."""
    given = {} if args is None else {"args": args}
    return encode({"type": f"tool_execution_{kind}", "toolCallId": call, "toolName": "bash", **given, **rest})
