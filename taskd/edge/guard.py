"""Who may speak. `admit` decides, by what the kernel says of a peer; the rest fetches what it needs.

* stdio: whoever started us with these pipes may speak.
* unix: our own uid, and those in `allowed_uids`. Root is no exception: it could act as us in any case, but a helper
  that happens to run as root in the guest should not drive the daemon by accident. `allowed_uids = [0]` lets it in.
* vsock: the CIDs in `allowed_cids`, by default the machine that the VM runs on. Processes of the guest itself (CID 1,
  or the guest's own) are not among them: an agent could be one.
* tcp: only with the token, from loopback too, because every user and every agent of the guest can connect there.
  `allow_unauthenticated` lifts that.

A TCP address is never chosen for somebody: the grammar wants a host, so one that is no loopback was named by a person.
"""

import os
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

from taskd.edge.settings import Settings
from taskd.edge.transports.door import PeerFacts
from taskd.edge.transports.tcp import is_loopback
from taskd.model.address import Address, TcpAddress
from taskd.services.private_file import PrivateFileError, PrivateFileMissingError, read_private_file

TOKEN_BYTES: Final = 32
"""256 bits of entropy, written as 64 hexadecimal digits."""
MIN_TOKEN_CHARS: Final = 32
"""A token that a person chose must not be shorter."""
MAX_TOKEN_FILE_BYTES: Final = 4096
"""A longer file is not a token file."""


class Verdict(StrEnum):
    """What is to become of a peer."""

    ADMITTED = "admitted"
    NEEDS_TOKEN = "needs_token"
    REFUSED = "refused"


class Admission(NamedTuple):
    """The decision, and for a refusal a reason that says what would let the peer in."""

    verdict: Verdict
    reason: str = ""


class Policy(NamedTuple):
    """What `admit` goes by. `has_token` says that there is a token to compare with."""

    own_uid: int
    allowed_uids: frozenset[int] = frozenset()
    allowed_cids: frozenset[int] = frozenset({2})
    has_token: bool = False
    allow_unauthenticated: bool = False


class TokenError(Exception):
    """The token file cannot be used or made; the message names it and says what would help."""


def policy_of(settings: Settings, *, own_uid: int, has_token: bool) -> Policy:
    """Take the policy from the settings."""
    return Policy(
        own_uid,
        frozenset(settings.allowed_uids),
        frozenset(settings.allowed_cids),
        has_token,
        settings.allow_unauthenticated,
    )


def admit(peer: PeerFacts, policy: Policy) -> Admission:
    """Decide about a peer. Pure; what is not known to be allowed is refused."""
    match peer.transport:
        case "stdio":
            return Admission(Verdict.ADMITTED)
        case "unix":
            return _by_number("uid", peer.uid, policy.allowed_uids | {policy.own_uid})
        case "vsock":
            return _by_number("cid", peer.cid, policy.allowed_cids)
        case "tcp":
            return _tcp(policy)
    return Admission(Verdict.REFUSED, f"transport {peer.transport} is unknown")


def needs_token(addresses: Iterable[Address], *, allow_unauthenticated: bool) -> bool:
    """Say whether a token must be there before these addresses may be served."""
    return not allow_unauthenticated and any(isinstance(address, TcpAddress) for address in addresses)


def warnings_for(addresses: Iterable[Address], *, allow_unauthenticated: bool) -> list[str]:
    """Say what a person should know about these addresses; one sentence each."""
    tcp = [address for address in addresses if isinstance(address, TcpAddress)]
    if allow_unauthenticated:
        return [f"Whoever reaches {address} can run commands here: allow_unauthenticated is set." for address in tcp]
    far = [address for address in tcp if not is_loopback(address.host)]
    return [f"{address} can be reached from other machines, and the token crosses it unencrypted." for address in far]


def token_matches(shown: str, token: str) -> bool:
    """Compare in a time that does not depend on where they differ."""
    import hmac  # only TCP needs it

    return hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), token.encode())


def load_token(path: str, *, uid: int) -> str:
    """Read the token, after making the file with a new one if it is not there.

    Raises:
        TokenError: the file cannot be made, is not private to us or root, or holds no token.
    """
    try:
        data = _read_or_make(path, uid)
    except PrivateFileError as error:
        raise TokenError(f"The token file {error}") from error
    except OSError as error:
        raise TokenError(f"The token file {path}: cannot be made: {error.strerror}") from error
    token = data.decode("ascii", "replace").strip()
    if len(token) < MIN_TOKEN_CHARS or not (token.isascii() and token.isprintable()) or " " in token:
        raise TokenError(
            f"The token file {path}: must hold one word of at least {MIN_TOKEN_CHARS} ASCII characters;"
            " remove it to have a new one made"
        )
    return token


def _tcp(policy: Policy) -> Admission:
    if policy.allow_unauthenticated:
        return Admission(Verdict.ADMITTED)
    if policy.has_token:
        return Admission(Verdict.NEEDS_TOKEN)
    return Admission(Verdict.REFUSED, "TCP needs a token, and there is none; set token_file or allow_unauthenticated")


def _by_number(noun: str, number: int | None, allowed: frozenset[int]) -> Admission:
    if number is not None and number in allowed:
        return Admission(Verdict.ADMITTED)
    return Admission(Verdict.REFUSED, f"{noun} {number} is not allowed; add it to allowed_{noun}s to let it in")


def _read_or_make(path: str, uid: int) -> bytes:
    try:
        return read_private_file(path, max_bytes=MAX_TOKEN_FILE_BYTES, uid=uid)
    except PrivateFileMissingError:
        _make(path)
        return read_private_file(path, max_bytes=MAX_TOKEN_FILE_BYTES, uid=uid)


def _make(path: str) -> None:
    """Write a new token to the side and link it into place, so that nobody ever reads half of one.

    RACE: another daemon may do the same; the link then fails, and its token, which is whole, is read.
    """
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    aside = f"{path}.{os.getpid()}.new"
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, os.urandom(TOKEN_BYTES).hex().encode() + b"\n")
        os.fsync(fd)
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        os.close(fd)
        os.unlink(aside)
