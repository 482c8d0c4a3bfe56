"""`taskctl models | bash | shutdown`: the guest itself."""

from __future__ import annotations

import click

from host_client.cli.commands import SECONDS, guest_command
from host_client.cli.completion import TASK
from host_client.cli.session import Guest, usage

MODELS = """\
  taskctl models                        of the active task
  taskctl models fix --set PROVIDER/MODEL
"""

BASH = """\
  taskctl bash 'df -h; free -m'         one argument is a whole script
  taskctl bash ls -la /srv              several are joined with spaces
  taskctl bash --timeout 600 make test
"""


@guest_command(examples=MODELS)
@click.argument("task", required=False, type=TASK)
@click.option("--set", "wanted", metavar="PROVIDER/MODEL", help="Use this model from now on.")
async def models(guest: Guest, task: str | None, wanted: str | None) -> None:
    """List the models of TASK's agent (or the active task's), or choose one."""
    from host_client.cli.screen import out
    from host_client.cli.views import show_models

    provider, slash, model = (wanted or "").partition("/")
    if wanted is not None and not (provider and slash and model):
        usage("--set wants PROVIDER/MODEL, as the list shows it")
    async with guest.connect() as client:
        if wanted is not None:
            await guest.drive(client)
            chosen = await client.set_model(provider, model, task_id=task)
            guest.tell(chosen, lambda: out().line(f"{chosen.task_id} uses {chosen.provider}/{chosen.id}"))
            return
        result = await client.list_models(task)
        state = await client.get_state()
    current = next((one for one in state.tasks if one.task_id == (task or state.active_task_id)), None)
    guest.tell(result, lambda: show_models(out(), result, current))


@guest_command(examples=BASH, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", nargs=-1, required=True, metavar="COMMAND...")
@click.option("--cwd", metavar="DIR", help="Where to run it; relative to the active task's folder.")
@click.option("--timeout", type=SECONDS, metavar="SECONDS", help="End it after this time.")
async def bash(guest: Guest, words: tuple[str, ...], cwd: str | None, timeout: float | None) -> int:
    """Run a shell command in the guest as the daemon's user, and exit with its code.

    Options of ours stand before COMMAND. The output comes when the command is over.
    """
    from host_client.cli.screen import err, out

    async with guest.connect() as client:
        await guest.drive(client)
        result = await client.system_bash(" ".join(words), cwd=cwd, timeout_seconds=timeout)

    def people() -> None:
        screen = out()
        screen.write(screen.shown(result.output))
        if not screen.fresh and screen.is_terminal:
            screen.write("\n")
        if result.truncated:
            err().line(f"{result.dropped_bytes:,} bytes of its output were dropped", "magenta")
        if result.timed_out:
            err().line("its time was up", "magenta")

    guest.tell(result, people)
    return result.exit_code


@guest_command()
@click.option("--reason", default="asked with taskctl", help="For the guest's log.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
async def shutdown(guest: Guest, reason: str, yes: bool) -> int:
    """Stop the daemon and its agents, in order: turns are aborted and saved."""
    from host_client.cli.dialogue import confirm
    from host_client.cli.screen import out

    async with guest.connect() as client:
        if not yes and not await confirm("Stop the daemon and every agent of it?"):
            return 1
        await guest.drive(client)
        result = await client.shutdown(reason)
    guest.tell(result, lambda: out().line("the daemon is stopping"))
    return 0
