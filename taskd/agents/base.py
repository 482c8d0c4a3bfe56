"""The codec protocol: what every tongue to a child can do, sans-IO in the manner of h11.

A codec lives as long as one incarnation. Whoever holds the pipes calls `start` once, writes what `outgoing` gives,
hands over what it reads to `feed`, and acts on the `Said`s that come back. A codec never blocks, never reads a clock,
and never raises for what a child wrote: what is no message of the protocol comes back as `Noise`.
"""

from typing import NamedTuple, Protocol

import msgspec

from taskd.model.agent import Abilities, Command, Said
from taskd.model.limits import Limits


class LaunchSpec(NamedTuple):
    """How to start an agent: full argument vector and what the protocol adds to the environment."""

    argv: tuple[str, ...]
    env: dict[str, str]


class Opening(msgspec.Struct, frozen=True):
    """What a codec must know of the task that it opens. Paths are absolute."""

    task_id: str
    cwd: str
    native_session: str
    provider: str | None = None
    model: str | None = None
    thinking_level: str | None = None


class AgentProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One agent of the settings, `[agents.NAME]`. `env` values are literal; names in `env_pass` are taken over."""

    protocol: str
    command: tuple[str, ...]
    env: dict[str, str] = {}
    env_pass: tuple[str, ...] = ()
    env_file: str | None = None


class AgentCodec(Protocol):
    """One incarnation's tongue."""

    abilities: Abilities
    """What the agent can do; may grow more exact when it is `Ready`."""
    keep_raw: bool
    """Whether `raw_lines` are wanted of the next `feed`."""

    def start(self) -> None:
        """Queue the handshake. It ends in `Ready` or `Refused`."""

    def send(self, command: Command) -> None:
        """Queue a command. Commands that need an answer carry a tag, echoed in `Answered`."""

    def feed(self, data: bytes) -> list[Said]:
        """Take bytes of the child's stdout; `b""` means its end. Consecutive deltas of one kind come as one."""

    def raw_lines(self) -> list[bytes]:
        """Give the protocol lines of the last `feed` that P0 hosts expect to see, without their newline."""

    def outgoing(self) -> bytes:
        """Give, once, the bytes that are to be written to the child's stdin."""


class AgentProtocol(Protocol):
    """A protocol by its name: makes launch specs and codecs. Entries of the registry are of this shape."""

    name: str

    def launch(self, profile: AgentProfile, opening: Opening) -> LaunchSpec:
        """Say how to start the agent for this task."""

    def codec(self, opening: Opening, limits: Limits, *, keep_raw: bool) -> AgentCodec:
        """Make a tongue for one incarnation; `keep_raw` is what its attribute begins with."""

    def seed(self, opening: Opening, session_id: str, at: str) -> bytes:
        """Give the bytes of an empty native session whose working folder is the task's, or `b""` for none."""

    def rebase(self, native: bytes, cwd: str) -> bytes:
        """Give the same native session with its working folder changed to `cwd`."""

    def whole_length(self, native: bytes) -> int:
        """Say how many of these bytes are whole records; what follows is a torn tail."""
