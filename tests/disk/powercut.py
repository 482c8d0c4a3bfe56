"""A disk that remembers what was done to it, and the states that a power cut may leave.

`RecordingDisk` works on a real folder and logs every change and every fsync. `states_after` takes the first n of them
and gives what may be found after the power was cut there: what was synced is there; of the rest any write may be
missing or torn, and any change of a name may be missing, also an earlier one when a later one of another folder
survived. `build` makes a real folder of such a state. With the processes killed but the machine alive, everything
before the cut is there: that is the state named `killed`.
"""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from taskd.disk.syscalls import Disk

ROOT = 0


@dataclass(frozen=True)
class Op:
    """One call. `where` is the folder of a name, or the file of bytes."""

    kind: str
    where: int
    name: str = ""
    second: str = ""
    target: int = -1
    offset: int = 0
    data: bytes = b""


NAMES = frozenset({"mkdir", "create", "rename", "link", "unlink"})
BYTES = frozenset({"write", "truncate"})


class RecordingDisk(Disk):
    def __init__(self, root: str, *, fsync: bool = True) -> None:
        super().__init__(fsync=True)
        self.log: list[Op] = []
        self._records_syncs = fsync
        self._ids = {os.stat(root).st_ino: ROOT}
        self._next = 1

    def open(self, name, flags, mode=0o600, *, dir_fd):
        made = flags & os.O_CREAT and not self._exists(name, dir_fd)
        fd = super().open(name, flags, mode, dir_fd=dir_fd)
        if made:
            self.log.append(Op("create", self._id(dir_fd), name, target=self._new(fd)))
        elif flags & os.O_TRUNC:
            self.log.append(Op("truncate", self._id(fd)))
        return fd

    def write(self, fd, data, offset):
        taken = super().write(fd, data, offset)
        self.log.append(Op("write", self._id(fd), offset=offset, data=bytes(data[:taken])))
        return taken

    def truncate(self, fd, length):
        super().truncate(fd, length)
        self.log.append(Op("truncate", self._id(fd), offset=length))

    def sync(self, fd):
        if self._records_syncs:
            self.log.append(Op("sync", self._id(fd)))

    def rename(self, old, new, *, dir_fd):
        super().rename(old, new, dir_fd=dir_fd)
        self.log.append(Op("rename", self._id(dir_fd), old, new))

    def link(self, old, new, *, dir_fd):
        super().link(old, new, dir_fd=dir_fd)
        self.log.append(Op("link", self._id(dir_fd), old, new))

    def unlink(self, name, *, dir_fd):
        super().unlink(name, dir_fd=dir_fd)
        self.log.append(Op("unlink", self._id(dir_fd), name))

    def mkdir(self, name, mode, *, dir_fd):
        super().mkdir(name, mode, dir_fd=dir_fd)
        fd = os.open(name, os.O_RDONLY, dir_fd=dir_fd)
        try:
            self.log.append(Op("mkdir", self._id(dir_fd), name, target=self._new(fd)))
        finally:
            os.close(fd)

    def _exists(self, name, dir_fd):
        try:
            os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _id(self, fd):
        return self._ids[os.fstat(fd).st_ino]

    def _new(self, fd):
        """Give a new file its own number; the kernel reuses those of removed ones."""
        self._ids[os.fstat(fd).st_ino] = number = self._next
        self._next += 1
        return number


class FailingDisk(Disk):
    """Fails the call number `at` (0 is the first), and with `forever` every later one that needs space or the disk."""

    def __init__(self, at: int, number: int = errno.ENOSPC, *, forever: bool = False, only: str = "") -> None:
        super().__init__()
        self.at = at
        self.calls = 0
        self._number = number
        self._forever = forever
        self._only = only

    def _count(self, kind):
        if self._only and kind != self._only:
            return
        call, self.calls = self.calls, self.calls + 1
        if call == self.at or (self._forever and call > self.at):
            raise OSError(self._number, os.strerror(self._number))

    def open(self, name, flags, mode=0o600, *, dir_fd):
        if flags & os.O_CREAT:
            self._count("create")
        return super().open(name, flags, mode, dir_fd=dir_fd)

    def write(self, fd, data, offset):
        half = data[: max(1, len(data) // 2)]
        super().write(fd, half, offset)
        self._count("write")
        return len(half)

    def truncate(self, fd, length):
        self._count("truncate")
        super().truncate(fd, length)

    def sync(self, fd):
        self._count("sync")

    def rename(self, old, new, *, dir_fd):
        self._count("rename")
        super().rename(old, new, dir_fd=dir_fd)

    def link(self, old, new, *, dir_fd):
        self._count("link")
        super().link(old, new, dir_fd=dir_fd)

    def mkdir(self, name, mode, *, dir_fd):
        super().mkdir(name, mode, dir_fd=dir_fd)


@dataclass
class Tree:
    """A file system: folders as names to numbers, files as bytes."""

    folders: dict[int, dict[str, int]] = field(default_factory=lambda: {ROOT: {}})
    files: dict[int, bytearray] = field(default_factory=dict)


def states_after(log: list[Op], n: int) -> Iterator[tuple[str, Tree]]:
    """Give every state that is tried for a cut behind the first `n` calls, with a name for messages."""
    done = log[:n]
    yield "killed", _replay(done, lambda index, op: op.data)
    lost = [index for index, op in enumerate(done) if op.kind in NAMES and not _synced(done, index, op.where)]
    unsynced = {op.where for index, op in enumerate(done) if op.kind in BYTES and not _synced(done, index, op.where)}
    for cut in (*lost, n):
        for dropped in (unsynced, set(), *({one} for one in unsynced if len(unsynced) > 1)):
            yield f"names<{cut} without {sorted(dropped)}", _survive(done, cut, dropped, torn=False)
        if unsynced:
            yield f"names<{cut} torn", _survive(done, cut, unsynced, torn=True)


def build(tree: Tree, path: str) -> None:
    """Make a real folder of a state; files with two names get two names."""
    made: dict[int, str] = {}
    todo = [(ROOT, path)]
    while todo:
        number, here = todo.pop()
        os.mkdir(here, 0o700)
        for name, child in tree.folders[number].items():
            there = os.path.join(here, name)
            if child in tree.folders:
                todo.append((child, there))
            elif child in made:
                os.link(made[child], there)
            else:
                made[child] = there
                with open(there, "wb") as file:
                    file.write(tree.files[child])


def _synced(done: list[Op], index: int, where: int) -> bool:
    return any(op.kind == "sync" and op.where == where for op in done[index + 1 :])


def _survive(done, cut, dropped, *, torn):
    def keep(index, op):
        if op.kind in NAMES:
            return op.data if index < cut or _synced(done, index, op.where) else None
        if op.where not in dropped or _synced(done, index, op.where):
            return op.data
        if torn and op.kind == "write":
            return op.data[: len(op.data) // 2]
        return None

    return _replay(done, keep)


def _replay(done, keep):
    tree = Tree()
    for index, op in enumerate(done):
        data = keep(index, op)
        if op.kind != "sync" and data is not None:
            _apply(tree, op, data)
        elif op.kind == "create":
            tree.files[op.target] = bytearray()
        elif op.kind == "mkdir":
            tree.folders[op.target] = {}
    return tree


def _apply(tree, op, data):
    if op.kind in BYTES:
        content = tree.files[op.where]
        if op.kind == "truncate":
            del content[op.offset :]
        else:
            content.extend(bytes(max(0, op.offset - len(content))))
            content[op.offset : op.offset + len(data)] = data
        return
    names = tree.folders[op.where]
    if op.kind == "create":
        tree.files[op.target] = bytearray()
        names[op.name] = op.target
    elif op.kind == "mkdir":
        tree.folders[op.target] = {}
        names[op.name] = op.target
    elif op.kind == "unlink":
        names.pop(op.name, None)
    elif op.name in names:
        number = names[op.name]
        if op.kind == "rename" and names.get(op.second) != number:
            del names[op.name]
        names[op.second] = number
