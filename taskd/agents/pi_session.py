"""pi's own session file, as far as it is made, moved and repaired from outside.

One JSON object per line: a header `{type: "session", version: 3, id, timestamp, cwd}`, then entries that pi appends.
pi works in the folder that the header names, wherever it was started; a header alone is a valid empty session. A torn
last line makes 0.74 lose the conversation (it glues the next entry onto it), so it is cut before every spawn.

It must not know where files lie. Rules: bytes in, bytes out; nothing raises for what is in a file; lines in the middle
are pi's business, also when they are no JSON (1.5 leaves such a line behind and reads on).
"""

from typing import Final

import msgspec

from taskd.agents.pi_lines import UNREADABLE, is_object

SESSION_VERSION: Final = 3
"""The version of the file since long before 0.74; pi migrates older ones and refuses none that is known."""


def seed(session_id: str, at: str, cwd: str) -> bytes:
    """Give an empty session in folder `cwd`, created at the RFC 3339 time `at`."""
    header = {"type": "session", "version": SESSION_VERSION, "id": session_id, "timestamp": at, "cwd": cwd}
    return msgspec.json.encode(header) + b"\n"


def rebase(native: bytes, cwd: str) -> bytes:
    """Give the same session in another folder; bytes without a readable header come back as they are."""
    line, newline, entries = native.partition(b"\n")
    try:
        header = msgspec.json.decode(line)
    except UNREADABLE:
        return native
    if not isinstance(header, dict) or header.get("type") != "session":
        return native
    return msgspec.json.encode(header | {"cwd": cwd}) + newline + entries


def whole_length(native: bytes) -> int:
    """Give the length up to the last line that ends in a newline and is a JSON object."""
    end = native.rfind(b"\n") + 1
    while end:
        start = native.rfind(b"\n", 0, end - 1) + 1
        if is_object(native[start : end - 1]):
            return end
        end = start
    return 0
