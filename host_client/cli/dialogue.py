"""An agent's question, asked of the person at the terminal.

The terminal is read line by line with the event loop's help, not in a thread: a question that was answered elsewhere,
or whose turn was aborted, is taken back at once, and nothing keeps the process from ending.
"""

import os
import sys
import termios
from typing import Final, NamedTuple

import anyio

from host_client.cli.escapes import one_line
from host_client.cli.screen import err
from host_client.cli.session import usage
from host_client.cli.views import question_words
from host_client.client import Client
from host_client.errors import GuestError
from taskd.model.calls import QuestionView
from taskd.model.events import AgentQuestion

MAX_ANSWER_BYTES: Final = 65536
"""A longer line at the terminal is cut; a terminal gives 4096 at most."""

Question = AgentQuestion | QuestionView


class Answer(NamedTuple):
    """What the person said; exactly one of the two."""

    value: str | None = None
    confirmed: bool | None = None


def has_person() -> bool:
    """Whether somebody at a terminal can be asked: reading it from the background would stop us."""
    try:
        return sys.stdin.isatty() and sys.stderr.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


async def ask(question: Question) -> Answer | None:
    """Ask the person at the terminal; None leaves the question open, as ctrl-D does."""
    screen = err()
    screen.line(f"? {question_words(question)}", "bold magenta")
    for number, option in enumerate(question.options, 1):
        screen.line(f"  {number}  {one_line(option)}")
    # What was typed before the question was seen does not answer it.
    termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    while True:
        screen.write(_invitation(question))
        line = await _read_line()
        if line is None:
            screen.line(f"\nleft open; `taskctl answer {question.request_id}` answers it", "dim")
            return None
        if answer := read_answer(question, line):
            return answer


async def give(client: Client, question: Question, answer: Answer) -> bool:
    """Give the agent the person's answer; say so, and give False, where it came too late."""
    try:
        await client.answer(question.request_id, value=answer.value, confirmed=answer.confirmed)
    except GuestError as error:
        err().line(f"not answered: {one_line(error.message)}", "magenta")
        return False
    return True


def _invitation(question: Question) -> str:
    if question.options:
        return f"  1-{len(question.options)}: "
    if question.kind == "confirm":
        return "  yes or no: "
    hint = one_line(getattr(question, "prefill", "") or getattr(question, "placeholder", ""))
    return f"  ({hint}) > " if hint else "  > "


def read_answer(question: Question, line: str) -> Answer | None:
    """Understand a typed line; None if it answers nothing. A number, or an option's own words, choose an option."""
    if question.options:
        wanted = line.strip()
        if wanted in question.options:
            return Answer(value=wanted)
        number = int(wanted) if wanted.isascii() and wanted.isdecimal() and len(wanted) <= 4 else 0
        return Answer(value=question.options[number - 1]) if 1 <= number <= len(question.options) else None
    if question.kind == "confirm":
        word = line.strip().lower()
        return Answer(confirmed=word in ("y", "yes")) if word in ("y", "yes", "n", "no") else None
    return Answer(value=line or getattr(question, "prefill", ""))


async def _read_line() -> str | None:
    """Read a line from the terminal; None at ctrl-D."""
    data = b""
    while b"\n" not in data and len(data) < MAX_ANSWER_BYTES:
        await anyio.wait_readable(sys.stdin.fileno())
        if not has_person():
            return None
        part = os.read(sys.stdin.fileno(), 4096)
        if not part:
            return None
        data += part
    return data.split(b"\n")[0].decode("utf-8", "replace")


async def confirm(question: str) -> bool:
    """Ask the person about something that the command is about to do.

    Raises:
        click.UsageError: nobody can be asked.
    """
    if not has_person():
        usage("nobody to ask at a terminal; give --yes")
    screen = err()
    while True:
        screen.write(f"{question} (yes or no) ")
        line = await _read_line()
        if line is None or line.strip().lower() in ("n", "no"):
            return False
        if line.strip().lower() in ("y", "yes"):
            return True
