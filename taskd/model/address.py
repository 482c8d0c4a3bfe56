"""Addresses of a daemon, and where one is found when nobody names it.

The grammar, shared by the daemon's `listen` and the host client's `--address`:

    unix:/PATH   tcp:HOST:PORT (IPv6 in brackets)   vsock:PORT   vsock:CID:PORT   stdio   exec:COMMAND   systemd

The default locations are pure functions here, because both ends must come to the same answer by themselves. This module
opens nothing and resolves no names. It is read before the daemon listens, so it imports next to nothing.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

MAX_UNIX_PATH_BYTES: Final = 107
"""`sun_path` of Linux holds 108 bytes with the closing NUL."""

MAX_UINT32: Final = 0xFFFF_FFFF
"""vsock ports and CIDs have 32 bits."""

SYSTEM_SOCKET: Final = "/run/taskd/taskd.sock"
"""Where a daemon that runs as root listens; hosts that are no root look there too."""


class AddressError(ValueError):
    """A text that is no address. `text` is what was given, `reason` says what is wrong with it and what would be
    right."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"{text!r} is no address: {reason}")
        self.text = text
        self.reason = reason


class UnixAddress(NamedTuple):
    """A socket file, by its absolute path."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


class TcpAddress(NamedTuple):
    """A host name or IP address (IPv6 without brackets) and a port; port 0 lets the kernel choose when listening."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp:{host}:{self.port}"


class VsockAddress(NamedTuple):
    """A vsock port; `cid` None means any of ours when listening. Port 0 lets the kernel choose when listening."""

    port: int
    cid: int | None = None

    def __str__(self) -> str:
        return f"vsock:{self.port}" if self.cid is None else f"vsock:{self.cid}:{self.port}"


class StdioAddress(NamedTuple):
    """The process's own standard input and output."""

    def __str__(self) -> str:
        return "stdio"


class ExecAddress(NamedTuple):
    """A command whose standard input and output are the channel, such as `ssh guest taskd --stdio`."""

    command: str

    def __str__(self) -> str:
        return f"exec:{self.command}"


class SystemdAddress(NamedTuple):
    """The sockets that systemd has opened for us."""

    def __str__(self) -> str:
        return "systemd"


Address = UnixAddress | TcpAddress | VsockAddress | StdioAddress | ExecAddress | SystemdAddress


def parse_address(text: str) -> Address:
    """Read one address; `str()` of the result gives the text again in its normal form.

    Raises:
        AddressError: `text` is not of the grammar.
    """
    kind, colon, rest = text.partition(":")
    if not colon and kind in _BARE:
        return _BARE[kind]
    reader = _READERS.get(kind) if colon else None
    if reader is None:
        raise AddressError(text, _unknown_kind(text))
    return reader(text, rest)


def default_socket(environ: Mapping[str, str], uid: int, home: str) -> UnixAddress:
    """Say where a daemon of this user listens when nobody says otherwise.

    systemd's `$RUNTIME_DIRECTORY`, or `/run/taskd` for root, or `$XDG_RUNTIME_DIR/taskd`, or `~/.local/state/taskd`;
    never a folder that others can write to.
    """
    if runtime := _first_folder(environ.get("RUNTIME_DIRECTORY", "")):
        return UnixAddress(f"{runtime}/taskd.sock")
    if uid == 0:
        return UnixAddress(SYSTEM_SOCKET)
    if runtime := _absolute(environ.get("XDG_RUNTIME_DIR", "")):
        return UnixAddress(f"{runtime}/taskd/taskd.sock")
    return UnixAddress(f"{_absolute(home)}/.local/state/taskd/taskd.sock")


def client_sockets(environ: Mapping[str, str], uid: int, home: str) -> tuple[UnixAddress, ...]:
    """Say where a host looks, first the user's own daemon, then the system's."""
    own, system = default_socket(environ, uid, home), UnixAddress(SYSTEM_SOCKET)
    return (own,) if own == system else (own, system)


def default_state_dir(environ: Mapping[str, str], uid: int, home: str) -> str:
    """Say where a daemon of this user keeps its tasks, and by default its token file."""
    if state := _first_folder(environ.get("STATE_DIRECTORY", "")):
        return state
    if uid == 0:
        return "/var/lib/taskd"
    if state := _absolute(environ.get("XDG_STATE_HOME", "")):
        return f"{state}/taskd"
    return f"{_absolute(home)}/.local/state/taskd"


def default_token_file(state_dir: str) -> str:
    """Say where the TCP token is when no `token_file` is set."""
    return f"{state_dir}/.taskd/token"


def _unix(text: str, path: str) -> Address:
    if not path.startswith("/"):
        raise AddressError(text, "the path must be absolute, as in unix:/run/taskd/taskd.sock")
    if "\0" in path or path.endswith("/"):
        raise AddressError(text, "the path must name a file")
    if len(path.encode("utf-8", "surrogateescape")) > MAX_UNIX_PATH_BYTES:
        raise AddressError(text, f"the path is longer than the {MAX_UNIX_PATH_BYTES} bytes that Linux allows")
    return UnixAddress(path)


def _tcp(text: str, rest: str) -> Address:
    host, colon, port = rest.rpartition(":")
    if not colon or not host:
        raise AddressError(text, "the host must be named, as in tcp:127.0.0.1:7000")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise AddressError(text, "brackets are for IPv6 addresses, as in tcp:[::1]:7000")
    elif ":" in host:
        raise AddressError(text, "an IPv6 address stands in brackets, as in tcp:[::1]:7000")
    if not host.isprintable() or " " in host or "[" in host or "]" in host:
        raise AddressError(text, "the host holds characters that no host name has")
    return TcpAddress(host, _number(text, "port", port, 65535))


def _vsock(text: str, rest: str) -> Address:
    cid, colon, port = rest.rpartition(":")
    return VsockAddress(
        _number(text, "port", port, MAX_UINT32), _number(text, "CID", cid, MAX_UINT32) if colon else None
    )


def _exec(text: str, command: str) -> Address:
    if not command.strip() or "\0" in command:
        raise AddressError(text, "a command must follow, as in exec:ssh guest taskd --stdio")
    return ExecAddress(command)


def _number(text: str, noun: str, digits: str, most: int) -> int:
    # isdecimal alone would let other scripts' digits through; ten digits hold every 32-bit number.
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 10 and int(digits) <= most):
        raise AddressError(text, f"the {noun} must be a number from 0 to {most}")
    return int(digits)


def _unknown_kind(text: str) -> str:
    if text.startswith("/"):
        return f"write unix:{text}"
    return "use unix:/PATH, tcp:HOST:PORT, vsock:PORT, vsock:CID:PORT, stdio, exec:COMMAND or systemd"


def _first_folder(folders: str) -> str:
    """Give the first of systemd's colon-separated folders, or an empty text."""
    return _absolute(folders.partition(":")[0])


def _absolute(folder: str) -> str:
    """Give the folder without closing slashes, or an empty text if it is not absolute (XDG: to be ignored then)."""
    return folder.rstrip("/") if folder.startswith("/") else ""


_BARE: Final[dict[str, Address]] = {"stdio": StdioAddress(), "systemd": SystemdAddress()}
_READERS: Final = {"unix": _unix, "tcp": _tcp, "vsock": _vsock, "exec": _exec}
