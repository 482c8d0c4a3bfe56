"""`taskctl prompt | steer | follow-up | abort`: a turn from a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from host_client.cli.commands import guest_command
from host_client.cli.completion import TASK
from host_client.cli.session import INTERRUPTED, REFUSED, Guest, usage

if TYPE_CHECKING:
    from taskd.model.agent import Image

PROMPTS = """\
  taskctl prompt 'ls -la'                       to the active task
  taskctl prompt -t notes 'cat list'            open and switch first
  taskctl prompt < brief.md                     from standard input
  git diff | taskctl prompt 'Review this:' -    both
  taskctl prompt -q pwd > answer.txt            the answer alone
  taskctl prompt --json pwd | jq .              every event, then the result
"""

task_option = click.option("-t", "--task", type=TASK, help="This task instead of the active one.")


@guest_command(examples=PROMPTS)
@click.argument("message", nargs=-1)
@click.option("-t", "--task", type=TASK, help="Open and switch to this task first, if that is needed.")
@click.option(
    "-i",
    "--image",
    "images",
    type=click.Path(exists=True, dir_okay=False),
    multiple=True,
    help="An image to send along.",
)
@click.option("--prompt-id", help="Your own id: the same one with the same message is one turn, however often sent.")
@click.option("-q", "--quiet", is_flag=True, help="The answer alone, and questions.")
async def prompt(
    guest: Guest,
    message: tuple[str, ...],
    task: str | None,
    images: tuple[str, ...],
    prompt_id: str | None,
    quiet: bool,
) -> int:
    """Send MESSAGE to the active task, and show the answer as it comes.

    The answer goes to standard output, all else to standard error. `-` or no MESSAGE reads standard input. The first
    ctrl-C aborts the turn, the second leaves at once. With --json each event is a line, the last one the result.

    On a terminal the agent's questions are asked here, and its escape sequences have no effect but for colours; to a
    pipe or a file the answer goes as it is.
    """
    from host_client.cli.turnview import TurnView

    text, pictures = _message(message), tuple(_image(path) for path in images)
    async with guest.connect(reconnect=30.0) as client:
        await guest.drive(client)
        if task is not None:
            await client.activate(task)
        turn = client.prompt(task, text, images=pictures, prompt_id=prompt_id, abort_if_left=True)
        view = TurnView(guest, client, turn, quiet=quiet)
        result = await view.follow()
    if view.interrupted:
        return INTERRUPTED
    return REFUSED if result is None or result.stop_reason in ("error", "aborted") else 0


@guest_command()
@click.argument("message", nargs=-1)
@task_option
async def steer(guest: Guest, message: tuple[str, ...], task: str | None) -> None:
    """Say MESSAGE to the running turn; the agent hears it before its next model call."""
    from host_client.cli.screen import out

    async with guest.connect() as client:
        await guest.drive(client)
        result = await client.steer(_message(message), task_id=task)
    guest.tell(result, lambda: out().line(f"queued for the running turn of {result.task_id}"))


@guest_command("follow-up")
@click.argument("message", nargs=-1)
@task_option
async def follow_up(guest: Guest, message: tuple[str, ...], task: str | None) -> None:
    """Queue MESSAGE for when the running turn would end."""
    from host_client.cli.screen import out

    async with guest.connect() as client:
        await guest.drive(client)
        result = await client.follow_up(_message(message), task_id=task)
    guest.tell(result, lambda: out().line(f"queued behind the running turn of {result.task_id}"))


@guest_command()
@click.argument("task", required=False, type=TASK)
async def abort(guest: Guest, task: str | None) -> None:
    """End the running turn of TASK (or of the active task). What it said so far is kept."""
    from host_client.cli.screen import out

    async with guest.connect() as client:
        await guest.drive(client)
        result = await client.abort(task)
    words = "aborting the turn of" if result.aborting else "nothing was running in"
    guest.tell(result, lambda: out().line(f"{words} {result.task_id}"))


def _message(words: tuple[str, ...]) -> str:
    """Give the message; `-` as the last word, or no word at all, stands for standard input."""
    piped = not words or words[-1] == "-"
    if not words and sys.stdin.isatty():
        usage("give a MESSAGE, or - to type it on standard input")
    said = " ".join(words[:-1] if piped else words)
    # An argument that is not UTF-8 reaches us with surrogates, which JSON cannot carry.
    parts = [said.encode("utf-8", "surrogateescape").decode("utf-8", "replace")] if said else []
    if piped:
        parts.append(sys.stdin.buffer.read().decode("utf-8", "replace"))
    text = "\n\n".join(parts)
    if not text:
        usage("the message is empty")
    return text


def _image(path: str) -> Image:
    from base64 import b64encode
    from mimetypes import guess_type
    from pathlib import Path

    from taskd.model.agent import Image

    kind = guess_type(path)[0] or ""
    if not kind.startswith("image/"):
        usage(f"{path} is no image by its name")
    return Image(data=b64encode(Path(path).read_bytes()).decode("ascii"), mime_type=kind)
