"""The command `taskctl demo`."""

from __future__ import annotations

import signal
import sys
from typing import Any, Final

import click

from host_client.cli.commands import GuestCommand, run_blocking
from host_client.cli.session import Guest

EXAMPLES: Final = """\
Examples:
  taskctl demo                      with the agent of this machine's settings
  taskctl demo --agent shell        with the built-in one: no model, no network
  taskctl demo --config taskd.toml --agent pi
  taskctl demo --keep               and look around in its folder afterwards
"""


STUCK: Final = "`taskctl demo --agent shell` needs no model; `taskctl demo --keep` keeps the daemon's log"


@click.command(cls=GuestCommand, epilog=EXAMPLES)
@click.option("--agent", metavar="NAME", help="An agent of the settings, or shell.")
@click.option(
    "--config", metavar="FILE", type=click.Path(exists=True, dir_okay=False), help="Settings for the demo's daemon."
)
@click.option("--keep", is_flag=True, help="Keep the temporary folder, to look around in it.")
@click.option("--json", "as_json", is_flag=True, help="Tell the steps in JSON, one per line.")
def demo(agent: str | None, config: str | None, keep: bool, as_json: bool) -> None:
    """See it all in a few seconds: tasks, switches, a crash, a recovery, a restart.

    A daemon of its own runs in a temporary folder; yours is not touched. It runs on the default agent of --config, or
    of this machine's settings, if that is not the built-in shell (or on pi, if they name it).
    """
    context = click.get_current_context()
    guest = Guest(as_json=as_json or bool(context.find_root().params.get("as_json")))
    signal.signal(signal.SIGTERM, _leave)
    context.exit(run_blocking(guest, lambda: _perform(guest, agent, config, keep=keep)))


def _perform(guest: Guest, agent: str | None, config: str | None, *, keep: bool) -> int:
    import anyio

    from host_client.cli.complaints import explain, first_host_error
    from host_client.cli.demo.acts import Acts
    from host_client.cli.demo.stage import Stage
    from host_client.cli.demo.story import Story
    from host_client.cli.screen import out
    from host_client.errors import HostError

    story = Story(out(), as_json=guest.as_json)
    with Stage(config, agent, keep=keep) as stage:
        try:
            anyio.run(Acts(story, stage).perform)
        except (HostError, BaseExceptionGroup) as error:
            return explain(guest, first_host_error(error), STUCK)
    left = f"All of it is in {stage.folder}" if keep else "Nothing is left of it."
    story.line()
    story.line(f"It took {story.seconds:.1f} s. {left}")
    story.line()
    story.line("Next, with a daemon of your own:", "bold")
    for line in ("taskd serve &", "taskctl open notes", "taskctl prompt 'ls -la'", "taskctl --help"):
        story.line(f"   {line}")
    return 0


def _leave(_number: int, _frame: Any) -> None:
    # As ctrl-C does: the daemon and the folder go on the way out.
    sys.exit(128 + signal.SIGTERM)
