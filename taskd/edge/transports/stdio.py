"""The process's own standard streams as one link: for `exec:` and ssh, and for trying things out by hand.

They may be pipes, sockets, a terminal or plain files, and they may be shared with other processes: O_NONBLOCK belongs
to the open file and not to us, so a shell whose terminal we left in that mode would fail to read. It is put back when
the link closes, and at exit at the latest.
"""

import atexit
import errno
import os
import sys

import anyio
import anyio.lowlevel

from taskd.edge.transports.door import PeerFacts
from taskd.edge.transports.link import Link
from taskd.model.address import StdioAddress


def claim_stdio() -> "StdioLink":
    """Take standard input and output over, and give the rest of the process `/dev/null` and standard error instead.

    A stray `print`, or a child that inherits them, could otherwise write into the channel or read from it.
    """
    sys.stdout.flush()
    read_fd, write_fd = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return StdioLink(read_fd, write_fd)


class StdioLink:
    """A link over two descriptors, which it owns; see `Link`."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.peer = PeerFacts("stdio")
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._closed = False
        # Both before either is changed: the two may be one open file.
        self._blocking_before = [(fd, os.get_blocking(fd)) for fd in (read_fd, write_fd)]
        for fd in (read_fd, write_fd):
            os.set_blocking(fd, False)
        atexit.register(self._restore)

    async def read(self, max_bytes: int) -> bytes:
        """See `Link`."""
        await anyio.lowlevel.checkpoint()
        while True:
            self._check_open()
            try:
                return os.read(self._read_fd, max_bytes)
            except BlockingIOError:
                await anyio.wait_readable(self._read_fd)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                return b""  # A terminal whose other side has hung up says so.

    def write_now(self, data: bytes | memoryview) -> int:
        """See `Link`."""
        self._check_open()
        try:
            return os.write(self._write_fd, data)
        except BlockingIOError:
            return 0

    async def wait_writable(self) -> None:
        """See `Link`. Plain files cannot be waited for (EPERM) and are always ready."""
        self._check_open()
        try:
            await anyio.wait_writable(self._write_fd)
        except PermissionError:
            await anyio.lowlevel.checkpoint()

    def close(self) -> None:
        """See `Link`."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self._restore)
        for fd in (self._read_fd, self._write_fd):
            anyio.notify_closing(fd)
        self._restore()
        for fd in (self._read_fd, self._write_fd):
            os.close(fd)

    def _restore(self) -> None:
        for fd, blocking in self._blocking_before:
            os.set_blocking(fd, blocking)

    def _check_open(self) -> None:
        if self._closed:
            raise anyio.ClosedResourceError


class StdioListener:
    """A door with one link behind it, for a daemon that is started for one host."""

    def __init__(self, link: StdioLink) -> None:
        self.address = StdioAddress()
        self._link: StdioLink | None = link
        self._closing = anyio.Event()

    async def accept(self) -> Link:
        """Give the link, once; after that there is nobody to wait for but `close`."""
        await anyio.lowlevel.checkpoint()
        if self._link is not None and not self._closing.is_set():
            link, self._link = self._link, None
            return link
        await self._closing.wait()
        raise anyio.ClosedResourceError

    def close(self) -> None:
        """Close it, together with a link that nobody has taken."""
        self._closing.set()
        if self._link is not None:
            self._link.close()
            self._link = None
