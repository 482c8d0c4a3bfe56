"""Opening doors: what a bind makes and refuses, what a close removes, and which inherited sockets are taken."""

import fcntl
import os
import socket
import stat
import tempfile

import pytest

from taskd.edge.transports import tcp, unix, vsock
from taskd.edge.transports.door import BindError, Bound
from taskd.edge.transports.early import bind_all, bind_early, release
from taskd.edge.transports.inherited import ListenFd, adopt, listen_fds
from taskd.model.address import ExecAddress, StdioAddress, SystemdAddress, TcpAddress, UnixAddress, VsockAddress


@pytest.fixture
def folder():
    # Not tmp_path: its names may be too long for a socket.
    with tempfile.TemporaryDirectory(prefix="t-") as path:
        yield path


@pytest.fixture
def bound(folder):
    made = bind_early(UnixAddress(f"{folder}/s"))
    yield made
    release([made])


def _mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def _connects(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(path) == 0


def _leave_stale(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)


# Unix ----------------------------------------------------------------------------------------------------------------


def test_a_socket_file_is_for_its_owner_alone_and_connections_wait_before_anybody_accepts(bound) -> None:
    assert _mode(bound.address.path) == 0o600
    assert _connects(bound.address.path)


def test_a_missing_folder_is_made_for_its_owner_alone(folder) -> None:
    made = bind_early(UnixAddress(f"{folder}/a/b/s"))
    assert _mode(f"{folder}/a/b") == 0o700
    release([made])


def test_the_umask_is_the_same_afterwards(folder) -> None:
    before = os.umask(0o022)
    try:
        release([bind_early(UnixAddress(f"{folder}/s"))])
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_sharing_lets_every_user_reach_the_socket(folder) -> None:
    made = bind_early(UnixAddress(f"{folder}/a/s"))
    unix.share(made.file)
    assert _mode(f"{folder}/a/s") == 0o666
    assert _mode(f"{folder}/a") == 0o711
    release([made])


def test_sharing_leaves_a_folder_alone_that_was_there_before(folder, bound) -> None:
    unix.share(bound.file)
    assert _mode(folder) == 0o700


def test_a_stale_socket_file_is_replaced(folder) -> None:
    _leave_stale(f"{folder}/s")
    made = bind_early(UnixAddress(f"{folder}/s"))
    assert _connects(f"{folder}/s")
    release([made])


def test_a_socket_on_which_somebody_answers_is_left_alone(bound) -> None:
    with pytest.raises(BindError, match="another process listens there"):
        bind_early(bound.address)
    assert _connects(bound.address.path)


def test_somebody_whose_backlog_is_full_is_still_somebody(folder) -> None:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(f"{folder}/s")
        server.listen(0)
        client.connect(f"{folder}/s")
        with pytest.raises(BindError, match="another process listens there"):
            bind_early(UnixAddress(f"{folder}/s"))


def test_a_datagram_socket_that_lives_is_left_alone(folder) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(f"{folder}/s")
        with pytest.raises(BindError, match="another process"):
            bind_early(UnixAddress(f"{folder}/s"))


@pytest.mark.parametrize("make", [lambda path: open(path, "w").close(), os.mkdir, lambda path: os.symlink("x", path)])
def test_what_is_no_socket_is_never_removed(folder, make) -> None:
    make(f"{folder}/s")
    with pytest.raises(BindError, match="no socket is there"):
        bind_early(UnixAddress(f"{folder}/s"))
    assert os.path.lexists(f"{folder}/s")


def test_two_that_open_at_once_do_not_remove_each_others_file(folder) -> None:
    _leave_stale(f"{folder}/s")
    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(BindError, match="just opening or closing"):
        bind_early(UnixAddress(f"{folder}/s"))
    os.close(lock)
    release([bind_early(UnixAddress(f"{folder}/s"))])


def test_a_folder_that_cannot_be_made_is_told(folder) -> None:
    open(f"{folder}/file", "w").close()
    with pytest.raises(BindError, match="cannot be made"):
        bind_early(UnixAddress(f"{folder}/file/x/s"))


def test_a_failed_bind_leaves_no_descriptor_open(folder, bound) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(BindError):
        bind_early(bound.address)
    assert os.listdir("/proc/self/fd") == before


def test_closing_removes_our_own_file(folder) -> None:
    release([bind_early(UnixAddress(f"{folder}/s"))])
    assert os.listdir(folder) == []


def test_closing_leaves_the_file_of_a_successor(folder) -> None:
    first = bind_early(UnixAddress(f"{folder}/s"))
    os.unlink(f"{folder}/s")
    second = bind_early(UnixAddress(f"{folder}/s"))
    release([first])
    assert _connects(f"{folder}/s")
    release([second])


def test_closing_bears_that_the_file_or_the_folder_is_gone(folder) -> None:
    made = bind_early(UnixAddress(f"{folder}/a/s"))
    os.unlink(f"{folder}/a/s")
    os.rmdir(f"{folder}/a")
    release([made])


def test_a_unix_peer_is_known_by_its_credentials(bound) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(bound.address.path)
        accepted = bound.sock.accept()[0]
        peer = unix.peer_facts(accepted)
        accepted.close()
    assert (peer.transport, peer.uid, peer.gid, peer.pid) == ("unix", os.geteuid(), os.getegid(), os.getpid())
    assert str(peer) == f"unix uid={peer.uid} gid={peer.gid} pid={peer.pid}"


# TCP -----------------------------------------------------------------------------------------------------------------


def test_port_0_gives_the_port_that_the_kernel_chose() -> None:
    made = bind_early(TcpAddress("127.0.0.1", 0))
    assert made.address == TcpAddress("127.0.0.1", made.sock.getsockname()[1])
    assert made.address.port > 0
    release([made])


def test_a_name_is_resolved() -> None:
    made = bind_early(TcpAddress("localhost", 0))
    assert tcp.is_loopback(made.address.host)
    release([made])


def test_ipv6_takes_no_ipv4() -> None:
    try:
        made = bind_early(TcpAddress("::", 0))
    except BindError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with socket.socket(socket.AF_INET) as client:
        assert client.connect_ex(("127.0.0.1", made.address.port)) != 0
    release([made])


def test_a_taken_port_and_an_unknown_name_are_told() -> None:
    made = bind_early(TcpAddress("127.0.0.1", 0))
    with pytest.raises(BindError, match=f"tcp:127.0.0.1:{made.address.port}: Address already in use"):
        bind_early(made.address)
    release([made])
    with pytest.raises(BindError, match="the host is unknown"):
        bind_early(TcpAddress("256.256.256.256", 0))


def test_an_accepted_connection_sends_at_once_and_notices_a_peer_that_is_gone() -> None:
    made = bind_early(TcpAddress("127.0.0.1", 0))
    with socket.create_connection((made.address.host, made.address.port)) as client:
        accepted = made.sock.accept()[0]
        buffers = [accepted.getsockopt(socket.SOL_SOCKET, size) for size in (socket.SO_SNDBUF, socket.SO_RCVBUF)]
        tcp.tune(accepted)
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == tcp.USER_TIMEOUT_MILLISECONDS
        assert buffers == [
            accepted.getsockopt(socket.SOL_SOCKET, size) for size in (socket.SO_SNDBUF, socket.SO_RCVBUF)
        ]
        peer = tcp.peer_facts(accepted)
        assert (peer.host, peer.port) == client.getsockname()
        accepted.close()
    release([made])


def test_both_detectors_of_a_dead_peer_have_the_same_bound() -> None:
    probed = tcp.KEEPALIVE_IDLE_SECONDS + tcp.KEEPALIVE_INTERVAL_SECONDS * tcp.KEEPALIVE_PROBES
    assert probed * 1000 == tcp.USER_TIMEOUT_MILLISECONDS


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False), ("::", False), ("10.0.2.15", False), ("example.org", False), ("::ffff:10.0.0.1", False),
    ],
)  # fmt: skip
def test_loopback_is_what_only_this_machine_reaches(host, answer) -> None:
    assert tcp.is_loopback(host) is answer


# vsock ---------------------------------------------------------------------------------------------------------------


def _vsock(port: int) -> Bound:
    try:
        return bind_early(VsockAddress(port))
    except BindError as error:
        pytest.skip(str(error))


def test_vsock_listens_on_the_port_that_the_kernel_chose() -> None:
    made = _vsock(0)
    assert isinstance(made.address, VsockAddress)
    assert made.address.port > 0
    assert made.address.cid is None
    assert vsock.address_of(made.sock) == made.address
    release([made])


def test_a_taken_vsock_port_is_told() -> None:
    made = _vsock(0)
    with pytest.raises(BindError, match="Address already in use"):
        bind_early(made.address)
    release([made])


# All of them ---------------------------------------------------------------------------------------------------------


def test_all_addresses_are_bound_or_none(folder, bound) -> None:
    with pytest.raises(BindError):
        bind_all([UnixAddress(f"{folder}/other"), bound.address])
    assert not os.path.exists(f"{folder}/other")


def test_stdio_needs_no_socket_and_a_command_can_have_none(folder) -> None:
    made = bind_all([StdioAddress(), UnixAddress(f"{folder}/s")])
    assert [str(one.address) for one in made] == [f"unix:{folder}/s"]
    release(made)
    with pytest.raises(BindError, match="no address of a socket"):
        bind_all([ExecAddress("x")])


def test_systemd_without_sockets_is_told() -> None:
    with pytest.raises(BindError, match=r"is there a \.socket unit"):
        bind_all([SystemdAddress()])


# Inherited -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, ()),
        ({"LISTEN_PID": "8", "LISTEN_FDS": "1"}, ()),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "0"}, ()),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "2"}, ((3, "unknown"), (4, "unknown"))),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}, ((3, "a"), (4, "b"))),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a"}, ((3, "a"), (4, "unknown"))),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "a:b:c"}, ((3, "a"),)),
    ],
)
def test_inherited_sockets_are_read_from_the_environment(environ, found) -> None:
    assert listen_fds(environ, 7) == found


@pytest.mark.parametrize("count", ["", "x", "-1", "65", "99999999999999999999", "٣"])
def test_a_number_of_sockets_that_makes_no_sense_is_told(count) -> None:
    with pytest.raises(BindError, match="LISTEN_FDS must be a number"):
        listen_fds({"LISTEN_PID": "7", "LISTEN_FDS": count}, 7)


def _listening(family: int, where: object, kind: int = socket.SOCK_STREAM) -> int:
    sock = socket.socket(family, kind)
    sock.bind(where)
    if kind == socket.SOCK_STREAM:
        sock.listen()
    os.set_inheritable(sock.fileno(), True)
    return sock.detach()


def test_inherited_sockets_are_told_apart_by_what_the_kernel_says(folder) -> None:
    on_unix = adopt(ListenFd(_listening(socket.AF_UNIX, f"{folder}/s"), "taskd.socket"))
    on_tcp = adopt(ListenFd(_listening(socket.AF_INET, ("127.0.0.1", 0)), "taskd.socket"))
    assert on_unix.address == UnixAddress(f"{folder}/s")
    assert isinstance(on_tcp.address, TcpAddress)
    for one in (on_unix, on_tcp):
        assert not os.get_inheritable(one.sock.fileno())
        assert not one.sock.getblocking()
    release([on_unix, on_tcp])
    assert os.path.exists(f"{folder}/s"), "the file is systemd's"


def test_an_abstract_socket_is_taken_and_shown() -> None:
    made = adopt(ListenFd(_listening(socket.AF_UNIX, f"\0taskd-test-{os.getpid()}"), "x"))
    assert str(made.address) == f"unix:@taskd-test-{os.getpid()}"
    release([made])


def test_inherited_descriptors_that_cannot_be_served_are_refused_with_a_reason(folder) -> None:
    datagram = _listening(socket.AF_UNIX, f"{folder}/d", socket.SOCK_DGRAM)
    with pytest.raises(BindError, match="use ListenStream="):
        adopt(ListenFd(datagram, "x"))
    ours, peers = socket.socketpair()
    with peers, pytest.raises(BindError, match="use Accept=no"):
        adopt(ListenFd(ours.detach(), "x"))
    readable, writable = os.pipe()
    with pytest.raises(BindError, match=f"descriptor {readable} \\(x\\): it is no socket"):
        adopt(ListenFd(readable, "x"))
    os.close(readable)
    os.close(writable)
    with pytest.raises(BindError, match="Bad file descriptor"):
        adopt(ListenFd(readable, "x"))
