"""Before a spawn: the agent's own file, put where the session says.

The one rule: when an agent starts, its file holds exactly the last completed turn, and its header names the task's
present working folder. Without a completed turn it is the protocol's empty session; without a mark (the agent had no
file when its turns were saved) it keeps its whole records. This module must not choose generations; it is given one.

ASSUMES: `rebase` works record by record, so that a head it leaves alone means a file it leaves alone.
"""

import os
from contextlib import suppress
from typing import Final, NamedTuple

from msgspec.structs import replace

from taskd.agents.base import AgentProtocol, Opening
from taskd.disk.atomic import Folder, TooBig
from taskd.disk.beneath import PathRefused
from taskd.model.records import NativeMark, Session
from taskd.services import session_file
from taskd.services.native_copy import AGENT, NATIVE, Found, NativeCopies
from taskd.services.session_file import Stored
from taskd.services.task_files import PREVIOUS, SESSION, Generation

HEAD_BYTES: Final = 64 << 10
"""How much of an agent's file is looked at to see which working folder it names; pi's header is its first line."""


class Start(NamedTuple):
    """What a protocol says for this spawn."""

    protocol: AgentProtocol
    opening: Opening
    seed: bytes
    limit: int
    """The most bytes of an agent's file that are read into memory."""


class Put(NamedTuple):
    """The session as it is now (turns left out), and how many bytes of the agent's file were dropped."""

    session: Session | None
    lost: int = 0


def put_back(task: Folder, copies: NativeCopies, generation: Generation, start: Start) -> Put:
    """Make the agent's file ready; raises `OSError`, `TooBig` when it must be changed and is above the limit."""
    stored, found = generation.stored, generation.found
    if stored is None or stored.session.turn_count == 0:
        return Put(stored and stored.session, _reset(task, start))
    mark = stored.session.native
    if mark is None or found is None:
        return Put(stored.session, _keep_whole(task, start))
    lost = max(0, found.native_size - mark.length)
    if _is_home(task, copies, mark, found, start):
        copies.put_back(task, mark, found)
        return Put(stored.session, lost)
    return Put(_move(task, copies, stored, mark, found, start), lost)


def _is_home(task: Folder, copies: NativeCopies, mark: NativeMark, found: Found, start: Start) -> bool:
    """Say whether the file names the task's working folder already."""
    head = copies.read(task, mark, found, HEAD_BYTES)
    head = head[: start.protocol.whole_length(head)] or copies.read(task, mark, found, start.limit)
    return start.protocol.rebase(head, start.opening.cwd) == head


def _move(task: Folder, copies: NativeCopies, stored: Stored, mark: NativeMark, found: Found, start: Start) -> Session:
    """Change the working folder in the agent's file, so that the changed bytes are the marked ones from now on.

    RACE: the new copy is durable before the mark on it, and the mark before the agent's file is touched. A crash in
    between leaves the old mark and the old copy, or the new mark and an agent's file that is put back from the new one.
    """
    if mark.length > start.limit:
        raise TooBig(NATIVE, mark.length, start.limit)
    native = start.protocol.rebase(copies.read(task, mark, found, mark.length), start.opening.cwd)
    new = copies.begin(task, start.opening.task_id, mark, native)
    moved = replace(stored.session, native=new)
    task.write_with_previous(SESSION, PREVIOUS, *session_file.encode_session(stored._replace(session=moved)))
    with task.folder(AGENT) as agent:
        agent.write_atomic(NATIVE, native, durable=False)
    return moved


def _reset(task: Folder, start: Start) -> int:
    """Let the agent's file be an empty session again; gives the bytes of a turn that never ended."""
    with task.folder(AGENT) as agent:
        lost = _behind(agent, start.seed.count(b"\n"))
        if start.seed:
            agent.write_atomic(NATIVE, start.seed, durable=False)
        else:
            with suppress(FileNotFoundError):
                agent.disk.unlink(NATIVE, dir_fd=agent.fd)
    return lost


def _behind(agent: Folder, lines: int) -> int:
    """Count the bytes behind the first `lines` lines, which an empty session has."""
    try:
        with agent.opened(NATIVE) as fd:
            size, head = os.fstat(fd).st_size, os.pread(fd, HEAD_BYTES, 0)
    except (FileNotFoundError, PathRefused):
        return 0
    empty = sum(len(line) + 1 for line in head.split(b"\n")[:lines])
    return max(0, size - empty)


def _keep_whole(task: Folder, start: Start) -> int:
    """Keep the whole records of a file that no mark is on, or begin it anew when it is missing."""
    with task.folder(AGENT) as agent:
        try:
            old = agent.read_bounded(NATIVE, start.limit)
        except (FileNotFoundError, PathRefused):
            old = b""
        whole = old[: start.protocol.whole_length(old)]
        native = start.protocol.rebase(whole, start.opening.cwd) if whole else start.seed
        if native != old:
            agent.write_atomic(NATIVE, native, durable=False)
    return len(old) - len(whole)
