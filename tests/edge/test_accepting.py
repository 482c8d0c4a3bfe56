"""Accepting: links with the facts of their peers, a bounded pause without descriptors, and an orderly end."""

import errno
import os
import socket
import tempfile

import anyio
import pytest

from taskd.edge.transports.early import bind_early
from taskd.edge.transports.listener import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, SocketListener
from taskd.model.address import TcpAddress, UnixAddress

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 10


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bound():
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        made = bind_early(UnixAddress(f"{folder}/s"))
        yield made
        made.sock.close()


class FailingSocket:
    """A listening socket whose accept fails as often as it is told, and then works."""

    def __init__(self, sock: socket.socket, errors: list[int]) -> None:
        self._sock = sock
        self._errors = errors

    def accept(self):
        if self._errors:
            code = self._errors.pop(0)
            raise OSError(code, os.strerror(code))
        return self._sock.accept()

    def __getattr__(self, name: str):
        return getattr(self._sock, name)


def _failing(bound, errors: list[int], pauses: list[float] | None = None) -> SocketListener:
    async def sleep(seconds: float) -> None:
        assert pauses is not None
        pauses.append(seconds)

    return SocketListener(bound._replace(sock=FailingSocket(bound.sock, errors)), sleep=sleep)


def _client(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    return sock


async def test_a_waiting_accept_gets_the_next_connection_with_its_facts(bound) -> None:
    listener = SocketListener(bound)
    links = []

    async def accept() -> None:
        links.append(await listener.accept())

    with anyio.fail_after(PATIENCE_SECONDS):
        async with anyio.create_task_group() as group:
            group.start_soon(accept)
            await anyio.wait_all_tasks_blocked()
            client = _client(bound.address.path)
    assert links[0].peer.uid == os.geteuid()
    links[0].close()
    client.close()
    listener.close()


async def test_without_free_descriptors_accepting_pauses_longer_and_longer_up_to_a_bound(bound) -> None:
    pauses: list[float] = []
    listener = _failing(bound, [errno.EMFILE] * 9 + [errno.ENFILE], pauses)
    client = _client(bound.address.path)
    with anyio.fail_after(PATIENCE_SECONDS):
        link = await listener.accept()
    assert pauses[:3] == [FIRST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2, FIRST_PAUSE_SECONDS * 4]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    assert len(pauses) == 10
    link.close()
    client.close()
    listener.close()


async def test_after_a_success_the_first_pause_is_short_again(bound) -> None:
    pauses: list[float] = []
    errors = [errno.EMFILE, errno.EMFILE]
    listener = _failing(bound, errors, pauses)
    clients = [_client(bound.address.path) for _ in range(2)]
    with anyio.fail_after(PATIENCE_SECONDS):
        links = [await listener.accept()]
        errors.append(errno.EMFILE)
        links.append(await listener.accept())
    assert pauses == [FIRST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2, FIRST_PAUSE_SECONDS]
    for one in (*links, *clients, listener):
        one.close()


async def test_a_peer_that_breaks_off_is_passed_over(bound) -> None:
    listener = _failing(bound, [errno.ECONNABORTED, errno.EPROTO, errno.EPERM])
    client = _client(bound.address.path)
    with anyio.fail_after(PATIENCE_SECONDS):
        link = await listener.accept()
    for one in (link, client, listener):
        one.close()


async def test_a_fault_of_the_socket_itself_is_raised(bound) -> None:
    listener = _failing(bound, [errno.EINVAL])
    with anyio.fail_after(PATIENCE_SECONDS), pytest.raises(OSError, match="Invalid argument"):
        await listener.accept()
    listener.close()


async def test_a_peer_that_is_gone_when_it_is_accepted_is_passed_over() -> None:
    listener = SocketListener(bind_early(TcpAddress("127.0.0.1", 0)))
    with socket.socket(socket.AF_INET) as gone:
        gone.connect((listener.address.host, listener.address.port))
        # Linger of zero makes the close a reset, after which getpeername has no answer.
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    with anyio.fail_after(PATIENCE_SECONDS), socket.socket(socket.AF_INET) as client:
        client.connect((listener.address.host, listener.address.port))
        link = await listener.accept()
        while link.peer.port != client.getsockname()[1]:
            link.close()
            link = await listener.accept()
        link.close()
    listener.close()


async def test_closing_wakes_a_waiting_accept_and_removes_the_file(bound) -> None:
    listener = SocketListener(bound)
    woken = []

    async def accept() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await listener.accept()
        woken.append(True)

    with anyio.fail_after(PATIENCE_SECONDS):
        async with anyio.create_task_group() as group:
            group.start_soon(accept)
            await anyio.wait_all_tasks_blocked()
            listener.close()
            listener.close()
    assert woken
    assert not await anyio.Path(bound.address.path).exists()
    with pytest.raises(anyio.ClosedResourceError):
        await listener.accept()
