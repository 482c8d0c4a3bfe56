"""An agent in thirty lines for what no scripted one can do well: to end at a chosen moment.

It speaks as little of pi's rpc mode as the daemon needs, echoes every prompt, and exits with code 9 right after the
line that its argument names (`agent_settled`, `agent_end`, `response`, `get_state`), or never.
"""

import json
import os
import sys
from typing import Any


def main(last: str) -> None:
    """Serve stdin to its end."""
    rest = b""
    while data := os.read(0, 65536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            _serve(json.loads(line), last)


def _serve(command: dict[str, Any], last: str) -> None:
    kind = command["type"]
    data = {"model": {"provider": "crude", "id": "crude"}} if kind == "get_state" else {"disposition": "started"}
    _say({"type": "response", "id": command["id"], "command": kind, "success": True, "data": data})
    if last in (kind, "response") and not (last == "response" and kind == "get_state"):
        os._exit(9)
    if kind == "prompt":
        message = {"role": "assistant", "content": [{"type": "text", "text": command["message"]}], "stopReason": "stop"}
        told = ({"type": "agent_start"}, {"type": "message_end", "message": message}, {"type": "agent_end"})
        for event in (*told, {"type": "agent_settled"}):
            _say(event)
            if event["type"] == last:
                os._exit(9)


def _say(line: dict[str, Any]) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1])
