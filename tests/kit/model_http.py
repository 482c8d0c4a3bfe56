"""The HTTP that the mock model speaks: one request per connection, and a streamed reply as server-sent events.

It knows bytes and headers and the shape of a chat-completions chunk; it must not know scripts, gates or tests. A reply
goes out in chunked transfer encoding, since only there a connection that breaks off is told from one that is finished.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from tests.kit.model_script import Call

HEADER_LIMIT = 64 * 1024
BODY_LIMIT = 64 * 1024 * 1024
"""Bytes of one request: a history of many long tool results fits, an endless one does not."""
HELD_BYTES = 64 * 1024
"""What a reply holds back at most: a long one still streams."""
CREATED = 1_700_000_000
"""The time of every reply, in epoch seconds: the mock has no clock."""


async def read_request(reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
    """(method, path, body) of one HTTP request.

    :raises ValueError: it is not HTTP, or its body is longer than `BODY_LIMIT`
    """
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = lines[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    length = int(headers.get("content-length", "0"))
    if length > BODY_LIMIT:
        raise ValueError(f"the body has {length} bytes, the limit is {BODY_LIMIT}")
    return method, path.partition("?")[0], await reader.readexactly(length)


async def send_json(writer: asyncio.StreamWriter, status: int, content: object) -> None:
    data = json.dumps(content).encode()
    writer.write(_head(status, "application/json", f"content-length: {len(data)}") + data)
    await writer.drain()


def _head(status: int, content_type: str, length: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", f"content-type: {content_type}", length, "connection: close", "", ""]
    return "\r\n".join(lines).encode()


class ReplyStream:
    """The events of one streamed reply; `deltas` counts those that carried something of the message.

    Events are held until `flush`, so what the model says in one breath leaves in one write: how the client sees it then
    does not depend on how busy the machine is.
    """

    def __init__(self, writer: asyncio.StreamWriter, number: int, model: str) -> None:
        self.deltas = 0
        self._writer = writer
        self._number = number
        self._base = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": CREATED, "model": model}
        self._held = bytearray(_head(200, "text/event-stream", "transfer-encoding: chunked"))
        self._choice({"role": "assistant", "content": ""})

    async def delta(self, text: str, thinking: bool) -> None:
        self.deltas += 1
        self._choice({"reasoning_content" if thinking else "content": text})
        if len(self._held) > HELD_BYTES:
            await self.flush()

    async def flush(self) -> None:
        self._writer.write(bytes(self._held))
        self._held.clear()
        await self._writer.drain()

    async def finish(self, calls: Sequence[Call], tokens: tuple[int, int]) -> None:
        """Call these tools, all in this message, with the ids `call_<request>_<index>`; then end the reply."""
        for index, call in enumerate(calls):
            function = {"name": call.name, "arguments": call.arguments}
            identity = {"index": index, "id": f"call_{self._number}_{index}", "type": "function"}
            self._choice({"tool_calls": [identity | {"function": function}]})
        self._choice({}, "tool_calls" if calls else "stop")
        tokens_in, tokens_out = tokens
        total = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
        self._event({"choices": [], "usage": total})
        self._chunk(b"data: [DONE]\n\n")
        self._held += b"0\r\n\r\n"
        await self.flush()

    def _choice(self, delta: dict[str, object], finish_reason: str | None = None) -> None:
        self._event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})

    def _event(self, fields: dict[str, object]) -> None:
        self._chunk(b"data: " + json.dumps(self._base | fields).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self._held += b"%x\r\n%b\r\n" % (len(data), data)
