"""What the fake pi says, in the forms of pi 1.5.2 and 0.74.2: messages and events as plain dicts. Pure.

Differences of the old form: every update carries the whole partial message twice, there is no agent_settled,
disposition, willRetry, durationMs or structuredContent, usage has fewer fields, and a started message is said to have
stopped.
"""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]

MODELS: list[Json] = [
    {
        "id": name,
        "name": title,
        "api": "openai-completions",
        "provider": "mock",
        "baseUrl": "http://127.0.0.1:1/v1",
        "reasoning": name == "mock-think",
        "input": ["text"],
        "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0},
        "contextWindow": 128000,
        "maxTokens": 8192,
        "compat": {"supportsDeveloperRole": False, "supportsReasoningEffort": False, "maxTokensField": "max_tokens"},
    }
    for name, title in (("mock-1", "Mock One"), ("mock-2", "Mock Two"), ("mock-think", "Mock Thinker"))
]

_TOOLS = [
    {
        "name": name,
        "description": name,
        "parameters": {"type": "object"},
        "constrainedSampling": {"type": "json_schema"},
    }
    for name in ("read", "bash", "edit", "write")
]


_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def encode(value: Any) -> bytes:
    """Compact JSON as pi writes it: U+2028 and all else beyond ASCII stay raw."""
    return _encoder.encode(value).encode("utf-8", "replace")


class Talk:
    """One dialect. `old` is 0.74."""

    def __init__(self, dialect: str) -> None:
        self.old = dialect.startswith("0.")

    def usage(self, tokens: tuple[int, int] | None) -> Json:
        """Usage of one message; None before the model has told."""
        taken, given = tokens or (0, 0)
        cost: Json = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "total": 0}
        usage: Json = {"input": taken, "output": given, "cacheRead": 0, "cacheWrite": 0}
        if tokens is not None and not self.old:
            usage["reasoning"] = 0
            cost["totalFromProvider"] = False
        return {**usage, "totalTokens": taken + given, "cost": cost}

    def assistant(self, model: str, content: list[Json], stop: str, now: int, tokens: tuple[int, int] | None) -> Json:
        """An assistant message under way or ended; `tokens` None: the model has not said a word yet."""
        return {
            "role": "assistant",
            "content": [dict(block) for block in content],
            "api": "openai-completions",
            "provider": "mock",
            "model": model,
            "usage": self.usage(tokens),
            "stopReason": ("stop" if self.old else "pending") if stop == "pending" else stop,
            "timestamp": now,
            **({} if tokens is None else {"responseId": f"chatcmpl-{now}"}),
        }

    def ended(self, message: Json, level: str) -> Json:
        """What a message that ended well has besides."""
        reason = "tool_calls" if message["stopReason"] == "toolUse" else message["stopReason"]
        new = {} if self.old else {"rawStopReason": reason, "durationMs": 1, "thinkingLevel": level}
        return {**message, **new}

    def failed(self, message: Json, error: str, level: str) -> Json:
        """What a message that ended in an error or an abort has besides."""
        new = {} if self.old else {"durationMs": 1, "thinkingLevel": level}
        return {**message, "errorMessage": error, **new}

    def update(self, message: Json, event: Json) -> Json:
        """A message_update; the old form repeats the message so far twice."""
        if self.old:
            return {
                "type": "message_update",
                "assistantMessageEvent": {**event, "partial": message},
                "message": message,
            }
        return {"type": "message_update", "usage": message["usage"], "assistantMessageEvent": event}

    def toolcall_start(self, call: Json, index: int) -> Json:
        """The start event of a tool call; its name is there since 0.84."""
        new = {} if self.old else {"id": call["id"], "toolName": call["name"]}
        return {"type": "toolcall_start", "contentIndex": index, **new}

    def tool_end(self, call: Json, text: str, code: int | None, ran: bool = True) -> Json:
        """tool_execution_end; `code` None means aborted or blocked, `ran` False that it never started."""
        result: Json = {"content": [{"type": "text", "text": text}]}
        if code is None or (self.old and code):
            result["details"] = {}
        elif not self.old and call["name"] == "bash":
            output = {"output": text if not code else text.rsplit("\n\n", 1)[0], "truncated": False}
            result["structuredContent"] = {**output, "exit_code": code, "wall_time_seconds": 0}
            if code:
                result["isError"] = True
        took = {} if self.old or not ran else {"durationMs": 1}
        name = {"toolCallId": call["id"], "toolName": call["name"]}
        return {"type": "tool_execution_end", **name, "result": result, "isError": code != 0, **took}

    def tool_result(self, end: Json, now: int) -> Json:
        """The toolResult message that follows a tool_execution_end."""
        result = end["result"]
        return {
            "role": "toolResult",
            "toolCallId": end["toolCallId"],
            "toolName": end["toolName"],
            "content": result["content"],
            **({"details": result["details"]} if "details" in result else {}),
            "isError": end["isError"],
            **({"durationMs": 1} if "durationMs" in end else {}),
            "timestamp": now,
        }

    def agent_end(self, messages: list[Json], will_retry: bool) -> Json:
        """The end of a run or of one try."""
        return {"type": "agent_end", "messages": messages, **({} if self.old else {"willRetry": will_retry})}

    @staticmethod
    def system(cwd: str, now: int) -> Json:
        """The system message that opens a session (not in the old form)."""
        sections = {"preamble": "fake", "tools": "", "rules": "", "docs": "", "cwd": cwd}
        return {"role": "system", "content": "", "sections": sections, "timestamp": now, "toolsAdded": _TOOLS}

    @staticmethod
    def user(text: str, now: int) -> Json:
        """A user message."""
        return {"role": "user", "content": [{"type": "text", "text": text}], "timestamp": now}
