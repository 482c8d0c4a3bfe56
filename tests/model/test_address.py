"""Addresses: what is one, what is none and why, and where a daemon is found when nobody names it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.model.address import (
    AddressError,
    ExecAddress,
    StdioAddress,
    SystemdAddress,
    TcpAddress,
    UnixAddress,
    VsockAddress,
    client_sockets,
    default_socket,
    default_state_dir,
    parse_address,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/run/taskd/taskd.sock", UnixAddress("/run/taskd/taskd.sock")),
        ("unix:/with blank:and colon", UnixAddress("/with blank:and colon")),
        ("tcp:127.0.0.1:7000", TcpAddress("127.0.0.1", 7000)),
        ("tcp:localhost:0", TcpAddress("localhost", 0)),
        ("tcp:[::1]:65535", TcpAddress("::1", 65535)),
        ("tcp:[fe80::1%eth0]:1", TcpAddress("fe80::1%eth0", 1)),
        ("vsock:5000", VsockAddress(5000)),
        ("vsock:2:4294967295", VsockAddress(4294967295, 2)),
        ("stdio", StdioAddress()),
        ("systemd", SystemdAddress()),
        ("exec:ssh guest taskd --stdio", ExecAddress("ssh guest taskd --stdio")),
    ],
)
def test_an_address_is_read_and_written_back_as_it_was(text, address) -> None:
    assert parse_address(text) == address
    assert type(parse_address(text)) is type(address)
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "use unix:/PATH"),
        ("nonsense", "use unix:/PATH"),
        ("http://x", "use unix:/PATH"),
        ("stdio:", "use unix:/PATH"),
        ("/run/taskd.sock", "write unix:/run/taskd.sock"),
        ("unix:run/taskd.sock", "must be absolute"),
        ("unix:", "must be absolute"),
        ("unix:/run/", "must name a file"),
        ("unix:/a\0b", "must name a file"),
        ("unix:/" + "a" * 107, "107 bytes"),
        ("unix:/" + "ä" * 54, "107 bytes"),
        ("tcp:7000", "host must be named"),
        ("tcp::7000", "host must be named"),
        ("tcp:::1:7000", "stands in brackets"),
        ("tcp:[localhost]:7000", "brackets are for IPv6"),
        ("tcp:a b:1", "characters"),
        ("tcp:x:65536", "the port must be a number from 0 to 65535"),
        ("tcp:x:-1", "the port must be a number"),
        ("tcp:x:٣", "the port must be a number"),
        ("tcp:x:", "the port must be a number"),
        ("vsock:", "the port must be a number"),
        ("vsock:x:5", "the CID must be a number"),
        ("vsock::5", "the CID must be a number"),
        ("vsock:1:2:3", "the CID must be a number"),
        ("vsock:4294967296", "the port must be a number"),
        ("exec:", "a command must follow"),
        ("exec:  ", "a command must follow"),
    ],
)
def test_what_is_no_address_is_told_why(text, hint) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert caught.value.text == text
    assert hint in caught.value.reason


def test_the_longest_path_that_the_kernel_takes_is_an_address() -> None:
    assert parse_address("unix:/" + "a" * 106) == UnixAddress("/" + "a" * 106)


@given(st.text())
def test_any_text_is_an_address_that_reads_back_or_an_address_error(text) -> None:
    try:
        address = parse_address(text)
    except AddressError:
        return
    assert parse_address(str(address)) == address


@given(st.sampled_from(["unix:", "tcp:", "vsock:", "exec:"]), st.text(alphabet="/:[]019ax ", max_size=20))
def test_whatever_follows_a_known_kind_reads_back_or_is_an_address_error(kind, rest) -> None:
    test_any_text_is_an_address_that_reads_back_or_an_address_error.hypothesis.inner_test(kind + rest)


@pytest.mark.parametrize(
    ("environ", "uid", "path"),
    [
        ({"RUNTIME_DIRECTORY": "/run/x:/run/y", "XDG_RUNTIME_DIR": "/run/user/5"}, 5, "/run/x/taskd.sock"),
        ({"XDG_RUNTIME_DIR": "/run/user/0"}, 0, "/run/taskd/taskd.sock"),
        ({"XDG_RUNTIME_DIR": "/run/user/5/"}, 5, "/run/user/5/taskd/taskd.sock"),
        ({"XDG_RUNTIME_DIR": "relative"}, 5, "/home/u/.local/state/taskd/taskd.sock"),
        ({}, 5, "/home/u/.local/state/taskd/taskd.sock"),
    ],
)
def test_a_daemon_has_one_default_socket(environ, uid, path) -> None:
    assert default_socket(environ, uid, "/home/u") == UnixAddress(path)


def test_a_host_looks_for_its_own_daemon_first_and_then_for_the_systems() -> None:
    own, system = UnixAddress("/run/user/5/taskd/taskd.sock"), UnixAddress("/run/taskd/taskd.sock")
    assert client_sockets({"XDG_RUNTIME_DIR": "/run/user/5"}, 5, "/home/u") == (own, system)
    assert client_sockets({}, 0, "/root") == (system,)


@pytest.mark.parametrize(
    ("environ", "uid", "folder"),
    [
        ({"STATE_DIRECTORY": "/var/lib/t:/var/lib/u"}, 5, "/var/lib/t"),
        ({"XDG_STATE_HOME": "/x"}, 0, "/var/lib/taskd"),
        ({"XDG_STATE_HOME": "/x"}, 5, "/x/taskd"),
        ({"XDG_STATE_HOME": "x"}, 5, "/home/u/.local/state/taskd"),
        ({}, 5, "/home/u/.local/state/taskd"),
    ],
)
def test_a_daemon_has_one_default_state_folder(environ, uid, folder) -> None:
    assert default_state_dir(environ, uid, "/home/u/") == folder
