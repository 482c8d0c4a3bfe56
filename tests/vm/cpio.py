"""Writes cpio archives in the `newc` form, which is what Linux unpacks as its first root folder.

Several archives may stand one after the other in one file, and the later ones add to the earlier ones and replace
their files. So the image is cached, and the project from this checkout comes behind it without a rebuild.

Rules: everything belongs to root, folders come before what is in them, equal contents give equal bytes.
"""

import stat
from typing import Final

MAGIC: Final = b"070701"
ALIGNMENT: Final = 4
"""Names and contents begin at multiples of it, within one archive and over several."""
TRAILER: Final = "TRAILER!!!"


class Archive:
    """Files, folders and symbolic links, by paths without a leading slash."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._folders: set[str] = set()
        self._entries = 0

    def folder(self, path: str, mode: int = 0o755) -> None:
        """Add a folder and those above it; one that is there already is left as it is."""
        if path and path not in self._folders:
            self._make_parent(path)
            self._folders.add(path)
            self._put(path, stat.S_IFDIR | mode, b"")

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Add a file, and the folders above it."""
        self._make_parent(path)
        self._put(path, stat.S_IFREG | mode, data)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link, and the folders above it."""
        self._make_parent(path)
        self._put(path, stat.S_IFLNK | 0o777, target.encode())

    def packed(self) -> bytes:
        """Give the archive as bytes, closed with its trailer."""
        return b"".join([*self._parts, _entry(0, TRAILER, 0, b"")])

    def _make_parent(self, path: str) -> None:
        self.folder(path.rpartition("/")[0])

    def _put(self, path: str, mode: int, data: bytes) -> None:
        self._entries += 1
        self._parts.append(_entry(self._entries, path, mode, data))


def _entry(number: int, path: str, mode: int, data: bytes) -> bytes:
    """Give one entry: magic, thirteen numbers of eight hexadecimal digits, the name, the contents."""
    name = path.encode() + b"\0"
    owner, group, links, changed, device, checksum = 0, 0, 1, 0, (0, 0, 0, 0), 0
    numbers = (number, mode, owner, group, links, changed, len(data), *device, len(name), checksum)
    return _padded(MAGIC + b"".join(b"%08x" % value for value in numbers) + name) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT)
