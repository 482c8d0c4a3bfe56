"""What the tests of the store share: a protocol whose file can be read by eye, an agent that writes it, and turns."""

import json
import os

from taskd.agents.base import Opening
from taskd.disk.atomic import Folder, write_all
from taskd.model.agent import Block, Usage
from taskd.model.limits import Limits
from taskd.model.records import Message, TaskRecord, Turn
from taskd.services.native_copy import AGENT, NATIVE
from taskd.services.store import Store

NOW = "2026-01-02T03:04:05Z"


class LineProtocol:
    """A header line that names the folder, then one line for each thing said."""

    name = "lines"

    def launch(self, profile, opening):
        raise NotImplementedError

    def codec(self, opening, limits, *, keep_raw):
        raise NotImplementedError

    def seed(self, opening: Opening, session_id: str, at: str) -> bytes:
        return header(opening.cwd, session_id)

    def rebase(self, native: bytes, cwd: str) -> bytes:
        line, newline, rest = native.partition(b"\n")
        if not line.startswith(b"{"):
            return native
        return header(cwd, json.loads(line)["id"])[:-1] + newline + rest

    def whole_length(self, native: bytes) -> int:
        return native.rfind(b"\n") + 1


class FilelessProtocol(LineProtocol):
    """An agent that keeps its session to itself."""

    def seed(self, opening, session_id, at):
        return b""


def header(cwd: str, session_id: str = "s1") -> bytes:
    return json.dumps({"id": session_id, "cwd": cwd}).encode() + b"\n"


def record(task_id: str = "t1", **changes) -> TaskRecord:
    return TaskRecord(task_id=task_id, agent="lines", created_at=NOW, **changes)


def turn(turn_id: str, text: str = "hello", number: int = 0) -> Turn:
    return Turn(
        turn_id=turn_id,
        number=number,
        prompt_id=f"p-{turn_id}",
        started_at=NOW,
        ended_at=NOW,
        stop_reason="stop",
        usage=Usage(input=10, output=1, total_tokens=11, cost=0.5),
        messages=(Message("user", (Block("text", text),)), Message("assistant", (Block("text", text * 2),))),
    )


class World:
    """A state folder, its store, and the hand of an agent. Use it as a context."""

    def __init__(self, state_dir, *, limits=None, disk=None, fsync=False, protocol=None):
        self.dir = str(state_dir)
        self.protocol = protocol or LineProtocol()
        self.disk = disk
        self.limits = limits or Limits()
        self.store = Store(self.dir, self.limits, fsync=fsync, disk=disk)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.store.close()

    def again(self, **changes):
        """Do as a daemon that starts anew on the same folder."""
        self.store.close()
        limits = changes.pop("limits", self.limits)
        self.store = Store(self.dir, limits, fsync=False, **changes)
        return self

    def prepare(self, task_id="t1", cwd="/w", **changes):
        return self.store.prepare(record(task_id, **changes), self.protocol, cwd, NOW, "s1")

    def save(self, turn_id, task_id="t1", **changes):
        return self.store.save_turn(record(task_id), turn(turn_id, **changes))

    def path(self, *parts, task_id="t1"):
        return os.path.join(self.dir, task_id, *parts)

    def native(self, task_id="t1"):
        with open(self.path(AGENT, NATIVE, task_id=task_id), "rb") as file:
            return file.read()

    def agent_says(self, data: bytes, task_id="t1"):
        """Append to the agent's file, as agents do: one write, no fsync."""
        self._write(data, os.O_CREAT, task_id)

    def agent_rewrites(self, data: bytes, task_id="t1"):
        """Write the agent's file anew in place, as a compaction does."""
        self._write(data, os.O_CREAT | os.O_TRUNC, task_id)

    def _write(self, data, flags, task_id):
        disk = self.store._disk
        with (
            Folder.open(self.path(AGENT, task_id=task_id), disk) as folder,
            folder.opened(NATIVE, os.O_RDWR | flags) as fd,
        ):
            write_all(fd, data, os.fstat(fd).st_size, disk)

    def turn_ids(self, task_id="t1", from_turn=1):
        return [json.loads(bytes(raw))["turnId"] for raw in self.store.read_session(task_id, from_turn).turns]

    def copies(self, task_id="t1"):
        return sorted(os.listdir(self.path("agent-copy", task_id=task_id)))
