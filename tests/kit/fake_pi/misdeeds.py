"""What a broken or hostile agent does: every directive of this file does its harm at once.

They act on the process itself (`FakePi`), with everything said before already written.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from .flood import pattern, write_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from .agent import FakePi

STDERR_BLOCK = 64 << 10


def commit(pi: FakePi, name: str, rest: str) -> None:
    """Do the misdeed `name`; some do not return."""
    pi.flush()
    DEEDS[name](pi, rest)


def _die(pi: FakePi, rest: str) -> None:
    number = rest.strip() or "9"
    chosen = signal.Signals(int(number)) if number.isdigit() else signal.Signals[f"SIG{number.upper()}"]
    signal.signal(chosen, signal.SIG_DFL) if chosen != signal.SIGKILL else None
    os.kill(os.getpid(), chosen)


def _exit(pi: FakePi, rest: str) -> None:
    os._exit(int(rest or 1))


def _half(pi: FakePi, rest: str) -> None:
    write_all(1, b'{"type":"message_update","usage":{"input":0,"out')
    os._exit(int(rest or 1))


def _torn(pi: FakePi, rest: str) -> None:
    pi.session.tear()
    os.kill(os.getpid(), signal.SIGKILL)


def _freeze(pi: FakePi, rest: str) -> None:
    # A frozen event loop runs no signal handler of its own either: only SIGKILL ends it.
    pi.ignores.add("term")
    if rest:
        pi.place(rest.strip()).touch()
    while True:
        signal.pause()


def _ignore(pi: FakePi, rest: str) -> None:
    pi.ignores.update(rest.lower().split())


def _mute(pi: FakePi, rest: str) -> None:
    pi.muted.update(rest.split() or ["*"])


def _fail_model(pi: FakePi, rest: str) -> None:
    pi.models_fail = True


def _reorder(pi: FakePi, rest: str) -> None:
    pi.swaps_responses = True


def _escape(pi: FakePi, rest: str) -> None:
    from subprocess import DEVNULL, Popen

    child = Popen(["sleep", "1000"], stdin=DEVNULL, stderr=DEVNULL, start_new_session=True, cwd="/")
    child.returncode = 0  # it is meant to outlive us: no warning about that
    pi.place(rest.strip()).write_text(str(child.pid))


def _noise(pi: FakePi, rest: str) -> None:
    write_all(1, rest.encode("utf-8", "replace") + b"\n")


def _null(pi: FakePi, rest: str) -> None:
    write_all(1, b"null\n")


def _line(pi: FakePi, rest: str) -> None:
    head, tail = b'{"type":"session_info_changed","name":"', b'"}'
    write_all(1, head + pattern(int(rest) - len(head) - len(tail)).encode() + tail + b"\n")


def _unending(pi: FakePi, rest: str) -> None:
    block, left = pattern(1 << 20).encode(), int(rest)
    while left > 0:
        write_all(1, block[:left])
        left -= len(block)


def _bad_utf8(pi: FakePi, rest: str) -> None:
    write_all(
        1,
        b'{"type":"message_update","assistantMessageEvent":{"type":"text_delta","contentIndex":0,"delta":"\xe2\x82"}}\n',
    )


def _stderr(pi: FakePi, rest: str) -> None:
    left = int(rest)
    while left > 0:
        write_all(2, (b"e" * (min(left, STDERR_BLOCK) - 1)) + b"\n")
        left -= STDERR_BLOCK


def _late(pi: FakePi, rest: str) -> None:
    pi.after_run.append({"type": "session_info_changed", "name": rest})


def _close_stdin(pi: FakePi, rest: str) -> None:
    pi.forget_stdin()
    os.close(0)


def _close_stdout(pi: FakePi, rest: str) -> None:
    pi.stdout_open = False
    sys.stdout = sys.__stdout__ = None  # type: ignore[misc]
    os.close(1)


DEEDS: dict[str, Callable[[FakePi, str], None]] = {
    "die": _die,
    "exit": _exit,
    "half": _half,
    "torn": _torn,
    "freeze": _freeze,
    "ignore": _ignore,
    "mute": _mute,
    "fail-model": _fail_model,
    "reorder": _reorder,
    "escape": _escape,
    "noise": _noise,
    "null": _null,
    "line": _line,
    "unending": _unending,
    "bad-utf8": _bad_utf8,
    "stderr": _stderr,
    "late": _late,
    "close-stdin": _close_stdin,
    "close-stdout": _close_stdout,
}
