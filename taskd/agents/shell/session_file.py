"""The session file: pi's JSON-lines tree, version 3. One header, then one entry per finished message.

Rules: append only, one write per line, never a rewrite. A line that does not parse is skipped; a missing last newline
is added before the next entry, so a torn tail costs that entry alone. What is no session is refused untouched.
The directory of a `cd` is an entry of pi's `custom` type, which pi itself reads over.
Bound: SESSION_LIMIT bytes are read. Not synced: whoever tells others that a turn is safe syncs the file.
"""

from __future__ import annotations

import json
import os
import time

from .limits import RECENT_BYTES, SESSION_LIMIT
from .wire import Raw, Recent, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

DIRECTORY_ENTRY = "taskd.directory"
"""customType of the entry that remembers a `cd`."""


class SessionError(Exception):
    """The file cannot be used or written; the text is for the user."""


class SessionFile:
    """One open session. `path` None keeps everything in memory (bounded by RECENT_BYTES)."""

    def __init__(self, path: str | None, header: dict[str, Any]) -> None:
        self.path = path
        self.id: str = header["id"]
        self.cwd: str = header["cwd"]
        self.directory = self.cwd
        self.model: str | None = None
        self.name: str | None = None
        self.counts = {"user": 0, "assistant": 0, "toolResult": 0, "toolCalls": 0}
        self.message_count = 0
        self._memory = Recent(RECENT_BYTES)
        self._leaf: str | None = None
        self._torn = False

    @classmethod
    def open(cls, path: str | None, start_dir: str) -> SessionFile:
        """The session at absolute `path`; a missing or empty file is made one. Raises SessionError."""
        data = _read(path) if path else b""
        if not data:
            return cls._create(path, start_dir)
        entries = [entry for line in data.split(b"\n") if (entry := _entry(line))]
        if not entries or entries[0].get("type") != "session" or not isinstance(entries[0].get("id"), str):
            raise SessionError(f"Error: Session file is not a valid pi session: {path}")
        header = entries[0] if isinstance(entries[0].get("cwd"), str) else {**entries[0], "cwd": ""}
        session = cls(path, {**header, "cwd": header["cwd"] or start_dir})
        session._refuse_missing_directory(start_dir)
        session._torn = not data.endswith(b"\n")
        for entry in _branch(entries[1:]):
            session._learn(entry)
        return session

    @classmethod
    def _create(cls, path: str | None, start_dir: str) -> SessionFile:
        header = {"type": "session", "version": 3, "id": new_uuid(), "timestamp": iso_now(), "cwd": start_dir}
        session = cls(path, header)
        if path:
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            except OSError as error:
                raise SessionError(f"Error: cannot create the session file {path}: {error.strerror}") from None
        session._write(encode(header))
        return session

    def append(self, kind: str, **fields: Any) -> None:
        """Add an entry after the last one. Raises SessionError when it cannot be written whole."""
        entry = {"type": kind, "id": os.urandom(4).hex(), "parentId": self._leaf, "timestamp": iso_now(), **fields}
        self._write(encode(entry))
        self._learn(entry)

    def append_message(self, message: dict[str, Any], raw: Raw) -> None:
        """Add a finished message; `raw` is its encoded form."""
        head = {"type": "message", "id": os.urandom(4).hex(), "parentId": self._leaf, "timestamp": iso_now()}
        self._write(encode(head)[:-1] + b',"message":' + raw + b"}")
        self._learn({**head, "message": message})
        if not self.path:
            self._memory.add(raw)

    def messages(self) -> Iterable[Raw]:
        """The newest messages of this branch, encoded, within RECENT_BYTES. Raises SessionError."""
        if not self.path:
            return self._memory
        recent = Recent(RECENT_BYTES)
        entries = [entry for line in _read(self.path).split(b"\n") if (entry := _entry(line))]
        for entry in _branch(entries[1:]):
            if entry.get("type") == "message":
                recent.add(encode(entry.get("message")))
        return recent

    def _refuse_missing_directory(self, start_dir: str) -> None:
        if not os.path.isdir(self.cwd):
            reason = f"Stored session working directory does not exist: {self.cwd}"
            raise SessionError(f"{reason}\nSession file: {self.path}\nCurrent working directory: {start_dir}")

    def _learn(self, entry: dict[str, Any]) -> None:
        self._leaf = entry["id"]
        kind = entry.get("type")
        if kind == "message":
            self.message_count += 1
            self._count(entry.get("message"))
        elif kind == "model_change":
            self.model = entry.get("modelId")
        elif kind == "session_info":
            self.name = entry.get("name")
        elif kind == "custom" and entry.get("customType") == DIRECTORY_ENTRY:
            data = entry.get("data")
            self.directory = str(data.get("cwd") or self.cwd) if isinstance(data, dict) else self.cwd

    def _count(self, message: Any) -> None:
        role = message.get("role") if isinstance(message, dict) else None
        if role in ("user", "assistant", "toolResult"):
            self.counts[role] += 1
        if role == "assistant" and message.get("stopReason") == "toolUse":
            self.counts["toolCalls"] += 1

    def _write(self, line: bytes) -> None:
        if not self.path:
            return
        data = (b"\n" if self._torn else b"") + line + b"\n"
        self._torn = True  # until every byte is out: a full disk may leave half a line
        try:
            # Not created here: a file that someone moved away must not come back without its header.
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                while data:
                    data = data[os.write(fd, data) :]
            finally:
                os.close(fd)
        except OSError as error:
            raise SessionError(f"Error: cannot write the session file {self.path}: {error.strerror}") from None
        self._torn = False


def _read(path: str) -> bytes:
    try:
        if os.path.getsize(path) > SESSION_LIMIT:
            raise SessionError(f"Error: the session file {path} is larger than {SESSION_LIMIT} bytes")
        with open(path, "rb") as file:
            return file.read(SESSION_LIMIT)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise SessionError(f"Error: cannot read the session file {path}: {error.strerror}") from None


def _entry(line: bytes) -> dict[str, Any] | None:
    """The entry on a line; None for blank and malformed ones."""
    try:
        value = json.loads(line) if line.strip() else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("id"), str) else None


def _branch(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries from the root to the last one, in order; parents that are lost end the walk."""
    by_id = {entry["id"]: entry for entry in entries}
    found: list[dict[str, Any]] = []
    at = entries[-1] if entries else None
    while at is not None and len(found) < len(entries):
        found.append(at)
        parent = at.get("parentId")
        at = by_id.get(parent) if isinstance(parent, str) else None
    return found[::-1]


def iso_now() -> str:
    """The time now as pi writes it: UTC, milliseconds, Z."""
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03}Z"


def new_uuid() -> str:
    """A random UUID, version 4."""
    text = bytearray(os.urandom(16))
    text[6], text[8] = text[6] & 0x0F | 0x40, text[8] & 0x3F | 0x80
    digits = text.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
