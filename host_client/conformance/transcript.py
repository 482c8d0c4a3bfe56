"""Transcripts: conversations as files, one step a line. The format stands in `spec/transcripts/README.md`.

Reads and checks them; says nothing to anybody. A file that is not of the format is refused with its name and line, so
that a typing error is not taken for a step that always holds.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from taskd.wire.registry import TONGUES

SUFFIX: Final = ".jsonl"
MAX_TRANSCRIPT_BYTES: Final = 1 << 20
"""A longer file is no transcript; real ones have a few kilobytes."""

FIRST_CHANNEL: Final = "first"
"""The channel of steps that name none."""

_ACTIONS: Final = ("say", "say_text", "say_hex", "say_long", "hear", "hear_all", "check", "close", "note")


class TranscriptError(Exception):
    """A transcript cannot be read; the message names file and line."""


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line: what the conversation is about, and what of the daemon's lines counts in it."""

    transcript: str
    dialect: str
    about: str
    tasks: tuple[str, ...] = ()
    """Names that are bound to ids of tasks of this run."""
    events: tuple[str, ...] = ()
    """Events that count; others may come at any time."""
    raw: tuple[str, ...] = ()
    """Types of an agent's own lines that count (P0)."""
    channels: int = 1
    """How many connections at once the conversation needs."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"is_": "is"}):
    """One line after the first; exactly one of `_ACTIONS` is set."""

    say: Any = msgspec.UNSET
    say_text: str | msgspec.UnsetType = msgspec.UNSET
    say_hex: str | msgspec.UnsetType = msgspec.UNSET
    say_long: Any = msgspec.UNSET
    hear: Any = msgspec.UNSET
    hear_all: list[Any] | msgspec.UnsetType = msgspec.UNSET
    check: Any = msgspec.UNSET
    close: str | msgspec.UnsetType = msgspec.UNSET
    note: str | msgspec.UnsetType = msgspec.UNSET
    on: str = FIRST_CHANNEL
    many: bool = False
    is_: Any = msgspec.UNSET

    @property
    def action(self) -> str:
        """Which of `_ACTIONS` it is."""
        return next(name for name in _ACTIONS if getattr(self, name) is not msgspec.UNSET)


class Transcript(msgspec.Struct, frozen=True):
    """One conversation. `steps` come with the numbers of their lines."""

    file: str
    header: Header
    steps: tuple[tuple[int, Step], ...]

    @property
    def name(self) -> str:
        """What the conversation is called; that of another dialect may be called the same."""
        return self.header.transcript


def load(folder: Path | None = None, names: Collection[str] = ()) -> list[Transcript]:
    """Read the transcripts of a folder, by default those of this package, in the order of their names.

    Args:
        folder: where `*.jsonl` files are.
        names: only those; empty means all.

    Raises:
        TranscriptError: the folder is not there, a name is unknown, or a file is not of the format.
    """
    found = [read(path) for path in sorted((folder or _packaged()).glob(f"*{SUFFIX}"))]
    known = {transcript.name for transcript in found}
    if not found:
        raise TranscriptError(f"there are no transcripts in {folder or _packaged()}")
    if unknown := sorted(set(names) - known):
        raise TranscriptError(f"there is no transcript {unknown[0]!r}; there is {', '.join(sorted(known))}")
    return [transcript for transcript in found if not names or transcript.name in names]


def read(path: Path) -> Transcript:
    """Read one file. Raises TranscriptError."""
    if path.stat().st_size > MAX_TRANSCRIPT_BYTES:
        raise TranscriptError(f"{path.name} is longer than {MAX_TRANSCRIPT_BYTES} bytes")
    lines = list(_lines(path))
    if not lines:
        raise TranscriptError(f"{path.name} is empty")
    header = _decode(path, *lines[0], Header)
    if header.dialect not in TONGUES:
        raise TranscriptError(f"{path.name}:1: there is no dialect {header.dialect!r}")
    return Transcript(path.name, header, tuple((number, _step(path, number, line)) for number, line in lines[1:]))


def _packaged() -> Path:
    """Say where the transcripts are: beside this file when installed, in `spec/` in the sources."""
    beside = Path(__file__).with_name("transcripts")
    return beside if beside.is_dir() else Path(__file__).resolve().parents[2] / "spec" / "transcripts"


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if line.strip():
            yield number, line


def _step(path: Path, number: int, line: bytes) -> Step:
    step: Step = _decode(path, number, line, Step)
    actions = [name for name in _ACTIONS if getattr(step, name) is not msgspec.UNSET]
    if len(actions) != 1:
        raise TranscriptError(f"{path.name}:{number}: a step has exactly one of {', '.join(_ACTIONS)}")
    if (actions == ["check"]) != (step.is_ is not msgspec.UNSET):
        raise TranscriptError(f"{path.name}:{number}: `check` and `is` belong together")
    return step


def _decode(path: Path, number: int, line: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(line, type=kind)
    except msgspec.DecodeError as error:
        raise TranscriptError(f"{path.name}:{number}: {error}") from error
