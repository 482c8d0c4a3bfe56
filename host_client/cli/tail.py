"""`taskctl tail`: what happens in a guest, as it happens."""

from __future__ import annotations

import click

from host_client.cli.commands import SECONDS, guest_command
from host_client.cli.completion import TASK
from host_client.cli.session import Guest

EXAMPLES = """\
  taskctl tail                          everything, until ctrl-C
  taskctl tail -t notes --for 60        one task, for a minute
  taskctl tail --json | jq 'select(.event == "agent_end") | .params.usage'
"""

PATIENCE_SECONDS = 300.0
"""How long a guest that went away is waited for."""


@guest_command(examples=EXAMPLES)
@click.option("-t", "--task", type=TASK, help="This task's events only.")
@click.option("-e", "--event", "names", metavar="NAME", multiple=True, help="These events only, such as agent_end.")
@click.option("--for", "seconds", type=SECONDS, metavar="SECONDS", help="Leave after so many seconds.")
async def tail(guest: Guest, task: str | None, names: tuple[str, ...], seconds: float | None) -> None:
    """Follow what happens in the guest, until ctrl-C.

    It begins with what happens now, and goes on when the guest was restarted.
    """
    import anyio

    from host_client.cli.eventview import EventView

    view = EventView(guest, names)
    async with guest.connect(reconnect=PATIENCE_SECONDS) as client:
        with anyio.move_on_after(seconds):
            async with client.events(task) as events:
                async for item in events:
                    view.show(item)
