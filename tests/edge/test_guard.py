"""Who may speak: the table of peers and policies, and the token with its file."""

import os
import stat

import pytest

from taskd.edge import guard
from taskd.edge.guard import Policy, TokenError, Verdict, admit, load_token, needs_token, token_matches, warnings_for
from taskd.edge.settings import resolve
from taskd.edge.settings_sources import Surroundings, flag_entries
from taskd.edge.transports.door import PeerFacts
from taskd.model.address import StdioAddress, TcpAddress, UnixAddress, VsockAddress

ME = os.geteuid()

OURS = Policy(own_uid=1000)
LISTED = Policy(own_uid=1000, allowed_uids=frozenset({0, 1001}), allowed_cids=frozenset({3}))
TOKEN = Policy(own_uid=1000, has_token=True)
OPEN = Policy(own_uid=1000, has_token=True, allow_unauthenticated=True)

ADMITTED, NEEDS_TOKEN, REFUSED = Verdict.ADMITTED, Verdict.NEEDS_TOKEN, Verdict.REFUSED


@pytest.mark.parametrize(
    ("peer", "policy", "verdict"),
    [
        (PeerFacts("stdio"), OURS, ADMITTED),
        (PeerFacts("unix", uid=1000), OURS, ADMITTED),
        (PeerFacts("unix", uid=1000), LISTED, ADMITTED),
        (PeerFacts("unix", uid=1001), LISTED, ADMITTED),
        (PeerFacts("unix", uid=0), LISTED, ADMITTED),
        (PeerFacts("unix", uid=0), OURS, REFUSED),
        (PeerFacts("unix", uid=1001), OURS, REFUSED),
        (PeerFacts("unix", uid=65534), LISTED, REFUSED),
        (PeerFacts("unix", uid=None), OURS, REFUSED),
        (PeerFacts("unix", uid=1001), OPEN, REFUSED),
        (PeerFacts("unix", uid=1001), TOKEN, REFUSED),
        (PeerFacts("vsock", cid=2), OURS, ADMITTED),
        (PeerFacts("vsock", cid=1), OURS, REFUSED),
        (PeerFacts("vsock", cid=3), OURS, REFUSED),
        (PeerFacts("vsock", cid=3), LISTED, ADMITTED),
        (PeerFacts("vsock", cid=2), LISTED, REFUSED),
        (PeerFacts("vsock", cid=None), OURS, REFUSED),
        (PeerFacts("vsock", cid=3), OPEN, REFUSED),
        (PeerFacts("tcp", host="127.0.0.1", port=1), OURS, REFUSED),
        (PeerFacts("tcp", host="127.0.0.1", port=1), TOKEN, NEEDS_TOKEN),
        (PeerFacts("tcp", host="10.0.2.2", port=1), TOKEN, NEEDS_TOKEN),
        (PeerFacts("tcp", host="127.0.0.1", port=1), OPEN, ADMITTED),
        (PeerFacts("tcp", host="10.0.2.2", port=1), OPEN, ADMITTED),
        (PeerFacts("tcp", uid=1000, host="127.0.0.1", port=1), OURS, REFUSED),
        (PeerFacts("carrier pigeon", uid=1000, cid=2), OPEN, REFUSED),
    ],
)
def test_a_peer_is_admitted_asked_for_the_token_or_refused(peer, policy, verdict) -> None:
    admission = admit(peer, policy)
    assert admission.verdict is verdict
    assert bool(admission.reason) is (verdict is REFUSED)


def test_a_refusal_says_what_would_let_the_peer_in() -> None:
    assert "add it to allowed_uids" in admit(PeerFacts("unix", uid=0), OURS).reason
    assert "add it to allowed_cids" in admit(PeerFacts("vsock", cid=1), OURS).reason
    assert "set token_file" in admit(PeerFacts("tcp"), OURS).reason


def test_the_policy_is_taken_from_the_settings() -> None:
    around = Surroundings({}, 1000, "/home/u", "/", 50, 40)
    flags = {"allowed_uids": [0, 5], "allowed_cids": [9], "allow_unauthenticated": True}
    policy = guard.policy_of(resolve(flag_entries(flags), around), own_uid=7, has_token=True)
    assert policy == Policy(7, frozenset({0, 5}), frozenset({9}), True, True)


def test_only_tcp_needs_a_token() -> None:
    others = [UnixAddress("/s"), VsockAddress(1), StdioAddress()]
    tcp = TcpAddress("127.0.0.1", 1)
    assert not needs_token(others, allow_unauthenticated=False)
    assert needs_token([*others, tcp], allow_unauthenticated=False)
    assert not needs_token([tcp], allow_unauthenticated=True)


def test_what_is_open_to_others_is_warned_of() -> None:
    near, far = TcpAddress("127.0.0.1", 1), TcpAddress("0.0.0.0", 2)
    addresses = [UnixAddress("/s"), near, far]
    assert [str(far) in warning for warning in warnings_for(addresses, allow_unauthenticated=False)] == [True]
    assert len(warnings_for(addresses, allow_unauthenticated=True)) == 2
    assert warnings_for([UnixAddress("/s")], allow_unauthenticated=True) == []


# The token -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path) -> str:
    return str(tmp_path / "state" / "token")


def test_a_missing_token_is_made_for_its_owner_alone_and_read_again(path) -> None:
    token = load_token(path, uid=ME)
    assert len(bytes.fromhex(token)) == 32
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert load_token(path, uid=ME) == token
    assert os.listdir(os.path.dirname(path)) == ["token"]


def test_two_tokens_are_never_the_same(tmp_path) -> None:
    assert load_token(str(tmp_path / "a"), uid=ME) != load_token(str(tmp_path / "b"), uid=ME)


def test_the_token_of_another_daemon_that_was_faster_is_taken(path, monkeypatch) -> None:
    link = os.link

    def slower(source: str, target: str) -> None:
        with open(target, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write("f" * 64)
        link(source, target)

    monkeypatch.setattr(os, "link", slower)
    assert load_token(path, uid=ME) == "f" * 64
    assert os.listdir(os.path.dirname(path)) == ["token"]


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (b"a" * 64, 0o644, "has mode 0644"),
        (b"a" * 64, 0o640, "has mode 0640"),
        (b"a" * 31, 0o600, "at least 32"),
        (b"", 0o600, "at least 32"),
        (b"a" * 40 + b" " + b"b" * 40, 0o600, "one word"),
        (b"\xff" * 64, 0o600, "one word"),
        (b"a" * 5000, 0o600, "longer than"),
    ],
)
def test_a_token_file_that_cannot_be_trusted_is_refused(tmp_path, content, mode, reason) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(TokenError, match=reason):
        load_token(str(path), uid=ME)
    assert path.read_bytes() == content


def test_a_token_file_that_is_a_link_is_refused_even_if_it_leads_nowhere(tmp_path) -> None:
    (tmp_path / "token").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TokenError, match="symbolic link"):
        load_token(str(tmp_path / "token"), uid=ME)
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TokenError, match="cannot be"):
        load_token(str(tmp_path / "file" / "token"), uid=ME)


def test_closing_blanks_are_no_part_of_a_token(tmp_path) -> None:
    (tmp_path / "token").write_text("  " + "a" * 32 + " \r\n")
    (tmp_path / "token").chmod(0o600)
    assert load_token(str(tmp_path / "token"), uid=ME) == "a" * 32


@pytest.mark.parametrize("shown", ["", "a" * 63, "a" * 65, "A" * 64, "ä" * 64, "\ud800"])
def test_only_the_token_itself_matches(shown) -> None:
    assert token_matches("a" * 64, "a" * 64)
    assert not token_matches(shown, "a" * 64)
