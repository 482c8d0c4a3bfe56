"""`taskctl open | switch | state | show | stop`: the life of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from host_client.cli.commands import SECONDS, guest_command
from host_client.cli.completion import AGENT, TASK
from host_client.cli.session import REFUSED, Guest, usage

if TYPE_CHECKING:
    from host_client.client import Client
    from host_client.errors import GuestError
    from taskd.model.calls import StopResult

OPENS = """\
  taskctl open notes                            with the guest's default agent
  taskctl open fix --agent pi --folder /srv/app
  taskctl open fix                              again, after a stop or a crash
  taskctl open try --model PROVIDER/MODEL --thinking high
"""


@guest_command("open", examples=OPENS)
@click.argument("task", type=TASK)
@click.option("--agent", type=AGENT, metavar="NAME", help="An agent of the guest's settings, instead of its default.")
@click.option("--model", metavar="[PROVIDER/]MODEL", help="The model; `taskctl models` lists them.")
@click.option("--provider", help="The model's provider, if MODEL does not name it.")
@click.option("--thinking", "thinking_level", metavar="LEVEL", help="How much the model thinks, where it can choose.")
@click.option("--folder", metavar="DIR", help="Work in this absolute folder of the guest.")
@click.option("--folder-relative", metavar="DIR", help="Work in this folder below the guest's workspace root.")
@click.option("--no-switch", is_flag=True, help="Leave the active task as it is.")
async def open_task(
    guest: Guest,
    task: str,
    agent: str | None,
    provider: str | None,
    model: str | None,
    thinking_level: str | None,
    folder: str | None,
    folder_relative: str | None,
    no_switch: bool,
) -> None:
    """Create TASK, or resume or recover it, and make it the active one.

    Without a folder the agent works in the task's own. What a task was opened with is kept when it is resumed.
    """
    from host_client.cli.screen import out

    if model and not provider and "/" in model:
        provider, _, model = model.partition("/")
    async with guest.connect() as client:
        await guest.drive(client)
        result = await client.open(
            task,
            agent=agent,
            provider=provider,
            model=model,
            thinking_level=thinking_level,
            working_folder=folder,
            working_folder_relative=folder_relative,
        )
        if not no_switch:
            await client.switch(task)
    turns = f", {count(result.turn_count, 'turn')}" if result.turn_count else ""
    active = "" if no_switch else " and active"
    guest.tell(result, lambda: out().line(f"{task} {result.mode}{active} (agent {result.agent}{turns})"))


@guest_command()
@click.argument("task", type=TASK)
@click.option("--timeout", type=SECONDS, metavar="SECONDS", help="Hard deadline (5).")
async def switch(guest: Guest, task: str, timeout: float | None) -> None:
    """Make TASK the active one; returns when its agent can take a prompt."""
    from host_client.cli.screen import out
    from host_client.client import SWITCH_SECONDS

    async with guest.connect() as client:
        await guest.drive(client)
        result = await client.switch(task, SWITCH_SECONDS if timeout is None else timeout)
    guest.tell(result, lambda: out().line(f"{task} active after {result.seconds * 1000:.1f} ms"))


@guest_command()
@click.argument("task", required=False, type=TASK)
async def state(guest: Guest, task: str | None) -> None:
    """List all tasks, → marks the active one; or tell all about TASK."""
    from host_client.cli.screen import out
    from host_client.cli.views import show_state, show_task

    async with guest.connect() as client:
        if task is None:
            result = await client.get_state()
            guest.tell(result, lambda: show_state(out(), result))
            return
        view = await client.get_task(task)
    guest.tell(view, lambda: show_task(out(), view, active=view.state == "active"))


@guest_command()
@click.argument("task", required=False, type=TASK)
@click.option("--from-turn", type=click.IntRange(min=1), default=1, metavar="N", help="The first turn to show.")
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="The last N turns only.")
async def show(guest: Guest, task: str | None, from_turn: int, last: int | None) -> None:
    """Show the conversation of TASK (or of the active task): the turns that are safe on the guest's disk."""
    import msgspec

    from host_client.cli.screen import out
    from host_client.cli.views import show_turn
    from taskd.model.records import Turn

    async with guest.connect() as client:
        task = task or await _active(client)
        if last is not None:
            from_turn = max(1, (await client.get_task(task)).turn_count - last + 1)
        session = await client.get_session(task, from_turn)

    def people() -> None:
        for raw in session.turns:
            show_turn(out(), msgspec.json.decode(raw, type=Turn))
        if not session.turns:
            past = f"; there are {session.turn_count}" if session.turn_count else ""
            out().line(f"no completed turn{f' from {from_turn} on' if past else ''} in {task}{past}")

    guest.tell(session, people)


@guest_command()
@click.argument("tasks", nargs=-1, type=TASK)
@click.option("--all", "everything", is_flag=True, help="Stop every task.")
async def stop(guest: Guest, tasks: tuple[str, ...], everything: bool) -> int:
    """Stop the agents of TASKS; their sessions stay, and `taskctl open` resumes them."""
    if bool(tasks) == everything:
        usage("name the tasks to stop, or give --all")
    async with guest.connect() as client:
        await guest.drive(client)
        if everything:
            tasks = tuple(task.task_id for task in (await client.get_state()).tasks if task.state != "stopped")
        results, refusals = await _stop(client, tasks)
    return _tell_stopped(guest, results, refusals)


def count(number: int, noun: str) -> str:
    """Say a number of things."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


async def _active(client: Client) -> str:
    active = (await client.get_state()).active_task_id
    if active is None:
        usage("no task is active; name one")
    return active


async def _stop(client: Client, tasks: tuple[str, ...]) -> tuple[list[StopResult], list[GuestError]]:
    """Stop tasks side by side; one that is refused keeps none of the others running."""
    import anyio

    from host_client.errors import GuestError

    results: dict[str, StopResult | GuestError] = {}

    async def stop_one(task: str) -> None:
        try:
            results[task] = await client.stop(task)
        except GuestError as error:
            results[task] = error

    async with anyio.create_task_group() as group:
        for task in tasks:
            group.start_soon(stop_one, task)
    ends = [results[task] for task in dict.fromkeys(tasks)]
    refusals = [end for end in ends if isinstance(end, GuestError)]
    return [end for end in ends if not isinstance(end, GuestError)], refusals


def _tell_stopped(guest: Guest, results: list[StopResult], refusals: list[GuestError]) -> int:
    from host_client.cli.complaints import explain
    from host_client.cli.screen import out

    def people() -> None:
        for result in results:
            out().line(f"{result.task_id} {result.state}")
        if not results and not refusals:
            out().line("nothing to stop")

    guest.tell(results, people)
    for refusal in refusals:
        explain(guest, refusal)
    return REFUSED if refusals else 0
