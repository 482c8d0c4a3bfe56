"""The session file as pi 1.5.2 and 0.74.2 keep it, their faults included.

New: written at the first user message, a torn tail gets its newline, other content is refused. Old: written at the
first assistant message, a torn tail is glued to the next entry, other content is overwritten. Both: the header's cwd
rules, a missing one is an error; entries are appended without a sync.
"""

from __future__ import annotations

import json
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .talk import Json, encode


class SessionError(Exception):
    """pi would refuse to start with this file."""


class Session:
    """One session; `path` None is `--no-session`."""

    def __init__(self, path: str | None, start_dir: str, old: bool) -> None:
        self.path = path
        self.cwd = start_dir
        self.id = str(uuid.uuid4())
        self.name: str | None = None
        self.model: str | None = None
        self.level = "off"
        self.messages: list[Json] = []
        self._old = old
        self._leaf: str | None = None
        self._unwritten: list[Json] = []
        self._on_file = False
        self._load(start_dir)

    def append(self, kind: str, **fields: Any) -> None:
        """Add an entry; written when the conversation has begun."""
        entry = {"type": kind, "id": os.urandom(4).hex(), "parentId": self._leaf, "timestamp": _now(), **fields}
        self._learn(entry)
        self._unwritten.append(entry)
        if self.path and (self._on_file or self._begins_file(entry)):
            self._write()

    def tear(self) -> None:
        """Leave half an entry at the end of the file."""
        if self.path:
            with Path(self.path).open("ab") as file:
                file.write(b'{"type":"message","id":"torn0000","parentId":"' + (self._leaf or "").encode())

    def _begins_file(self, entry: Json) -> bool:
        role = entry["message"]["role"] if entry["type"] == "message" else ""
        return role == "assistant" or (role == "user" and not self._old)

    def _write(self) -> None:
        assert self.path
        if not self._on_file:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.write(fd, b"".join(encode(entry) + b"\n" for entry in self._unwritten))
        os.close(fd)
        self._unwritten, self._on_file = [], True

    def _load(self, start_dir: str) -> None:
        data = Path(self.path).read_bytes() if self.path and Path(self.path).exists() else b""
        entries = [entry for line in data.split(b"\n") if (entry := _parse(line))]
        valid = bool(entries) and entries[0].get("type") == "session" and isinstance(entries[0].get("id"), str)
        if data and not valid and not self._old:
            raise SessionError(f"Error: Session file is not a valid pi session: {self.path}")
        if not valid:
            self._begin(bool(data), self.path is not None and Path(self.path).exists())
            return
        self.id, self.cwd = entries[0]["id"], entries[0].get("cwd") or start_dir
        if not Path(self.cwd).is_dir():
            reason = f"Stored session working directory does not exist: {self.cwd}"
            raise SessionError(f"{reason}\nSession file: {self.path}\nCurrent working directory: {start_dir}")
        self._on_file = True
        if not data.endswith(b"\n") and not self._old:
            with Path(str(self.path)).open("ab") as file:
                file.write(b"\n")
        for entry in _branch(entries[1:]):
            self._learn(entry)

    def _begin(self, overwrite: bool, exists: bool) -> None:
        if overwrite:
            Path(str(self.path)).write_bytes(b"")
        self._unwritten = [{"type": "session", "version": 3, "id": self.id, "timestamp": _now(), "cwd": self.cwd}]
        if exists:
            self._write()

    def _learn(self, entry: Json) -> None:
        self._leaf = entry.get("id")
        if entry["type"] == "message":
            self.messages.append(entry["message"])
        elif entry["type"] == "model_change":
            self.model = entry["modelId"]
        elif entry["type"] == "thinking_level_change":
            self.level = entry["thinkingLevel"]
        elif entry["type"] == "session_info":
            self.name = entry["name"]


def _parse(line: bytes) -> Json | None:
    try:
        value = json.loads(line) if line.strip() else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _branch(entries: list[Json]) -> list[Json]:
    """From the last entry up through the parents: what pi remembers of the tree."""
    by_id = {entry.get("id"): entry for entry in entries}
    found: list[Json] = []
    at = entries[-1] if entries else None
    while at is not None and len(found) < len(entries):
        found.append(at)
        at = by_id.get(at.get("parentId"))
    return found[::-1]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
