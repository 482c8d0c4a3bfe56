"""Logs for people: structlog to standard error, one line for each event, as JSON or coloured for a terminal.

Whoever logs binds its context (`task`, `channel`, `cause`) and calls `structlog.get_logger()`; below the level such a
call costs a function call and nothing else. Values under names of secrets are masked in every line.

A log must never stop the daemon: standard error may be a pipe that nobody reads (a host that starts us over ssh), so
a line that does not fit now is dropped and counted, and the next one that fits says how many were lost.
"""

import os
import select
import threading
from collections.abc import Callable, MutableMapping
from typing import Any, Final

import msgspec
import structlog

from taskd.edge.redaction import redact

ATOMIC_BYTES: Final = 4096
"""PIPE_BUF: a pipe that is writable takes so many bytes at once, so writing them cannot block."""

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}

EventDict = MutableMapping[str, Any]


class Sink:
    """Writes lines to a descriptor without ever waiting for it. Threads may share it.

    A line of up to `ATOMIC_BYTES` is written whole or not at all; a longer one may be cut, and the next begins anew.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.dropped = 0
        """Lines lost since the last one that was written."""
        self._torn = False
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def write(self, line: bytes) -> None:
        """Write a line, given without its newline, or drop it."""
        with self._lock:
            if self.dropped and self._put(_lost(self.dropped)):
                self.dropped = 0
            if self.dropped or not self._put(line):
                self.dropped += 1

    # structlog calls a logger's method by the level's name.
    debug = info = warning = error = critical = msg = write

    def _put(self, line: bytes) -> bool:
        data = (b"\n" if self._torn else b"") + line + b"\n"
        sent = 0
        while sent < len(data):
            taken = self._write(data[sent : sent + ATOMIC_BYTES])
            if not taken:
                break
            sent += taken
        self._torn = self._torn if not sent else sent < len(data)
        return sent == len(data)

    def _write(self, piece: bytes) -> int:
        try:
            ready = self._poll.poll(0)
            return os.write(self.fd, piece) if ready and ready[0][1] & select.POLLOUT else 0
        except OSError:
            return 0  # Closed, hung up, or non-blocking because a terminal is shared; there is nowhere to complain.


def set_up(format: str, level: str, sink: Sink, *, cache: bool = True) -> None:
    """Make structlog write to `sink`.

    Args:
        format: json, console, or auto, which is console on a terminal.
        level: debug, info, warning or error; what is below costs next to nothing.
        sink: where lines go; standard error is `Sink(2)`.
        cache: let loggers keep what they were set up with; off for tests that set up again.
    """
    wants_colour = os.isatty(sink.fd)
    console = format == "console" or (format == "auto" and wants_colour)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            redact_values,
            *(_console(wants_colour) if console else (structlog.processors.format_exc_info, _as_json)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=cache,
    )


def redact_values(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Mask values under names of secrets, at any depth."""
    exc_info = event.pop("exc_info", None)
    shown: EventDict = redact(event)
    if exc_info is not None:
        shown["exc_info"] = exc_info
    return shown


def _as_json(_logger: object, _method: str, event: EventDict) -> bytes:
    # The event first and time and level beside it, so that lines can be read by eye too.
    head = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}
    try:
        return _ENCODER.encode(head | dict(event))
    except (TypeError, ValueError, ArithmeticError, RecursionError):
        # Lone surrogates, odd keys, huge numbers: whoever logs must not be broken by what is logged.
        return _ENCODER.encode({"level": head.get("level"), "event": ascii(head.get("event")), "rest": ascii(event)})


def _console(colour: bool) -> tuple[Callable[..., Any], ...]:
    render = structlog.dev.ConsoleRenderer(colors=colour, exception_formatter=structlog.dev.plain_traceback)

    def to_bytes(logger: Any, method: str, event: EventDict) -> bytes:
        # What an agent said may hold control sequences, which a terminal would obey.
        plain = {name: ascii(value) if _unprintable(value) else value for name, value in event.items()}
        return render(logger, method, plain).encode("utf-8", "backslashreplace")

    return (to_bytes,)


def _unprintable(value: object) -> bool:
    return isinstance(value, str) and not value.isprintable()


def _lost(lines: int) -> bytes:
    return b'{"level":"warning","event":"log lines were lost: standard error was not read","lines":%d}' % lines


_ENCODER: Final = msgspec.json.Encoder(enc_hook=repr)
