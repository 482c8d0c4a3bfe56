"""The command `taskctl` and its subcommands.

Names, order and one-line help of the commands stand here, so that help and completion load none of them; each is
loaded when it is called. One that cannot be loaded, because a library of an extra is not installed, says so when it is
called and breaks nothing else.
"""

import io
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple

import click

from host_client.cli.commands import guest_options, write_verbatim
from host_client.cli.session import INTERRUPTED, REFUSED
from taskd import __version__


class Entry(NamedTuple):
    """Where a command is, and what help says of it in the list."""

    where: str
    words: str


SECTIONS: Final[dict[str, dict[str, Entry]]] = {
    "Tasks": {
        "open": Entry("tasks:open_task", "Create a task, or resume or recover it, and make it the active one."),
        "switch": Entry("tasks:switch", "Make a task the active one."),
        "state": Entry("tasks:state", "List all tasks, or tell all about one."),
        "show": Entry("tasks:show", "Show a task's conversation."),
        "stop": Entry("tasks:stop", "Stop agents; their sessions stay."),
    },
    "Turns": {
        "prompt": Entry("talk:prompt", "Send a message to the active task; the answer comes live."),
        "steer": Entry("talk:steer", "Say something to the running turn."),
        "follow-up": Entry("talk:follow_up", "Queue a message for when the running turn would end."),
        "abort": Entry("talk:abort", "End the running turn."),
        "answer": Entry("answers:answer", "List agents' questions, or answer one."),
        "tail": Entry("tail:tail", "Follow what happens in the guest."),
    },
    "The guest": {
        "models": Entry("guest:models", "List an agent's models, or choose one."),
        "bash": Entry("guest:bash", "Run a shell command in the guest."),
        "diag": Entry("diag:diag", "Tell what helps to find a fault."),
        "shutdown": Entry("guest:shutdown", "Stop the daemon and its agents, in order."),
    },
    "Tools": {
        "demo": Entry("demo.command:demo", "See it all in a few seconds, in a temporary folder."),
        "bench": Entry("host_client.bench.command:bench", "Measure this machine."),
        "conformance": Entry("conformance:conformance", "Check that a daemon keeps the contract."),
        "completion": Entry("completion:completion", "Print the script for your shell."),
    },
}
"""Every subcommand, in the order in which help lists them."""

COMMANDS: Final = {name: entry for entries in SECTIONS.values() for name, entry in entries.items()}

EPILOG = """\
First steps:
  taskctl demo               see it all in a few seconds
  taskd serve &              start a daemon where taskctl looks by itself
  taskctl open notes         a task with the built-in shell agent
  taskctl prompt 'ls -la'    its answer, live
  taskctl state              all tasks

Addresses:
  unix:/PATH    tcp:HOST:PORT    vsock:CID:PORT
  fc:/PATH:PORT    vsock as Firecracker and Cloud Hypervisor show it
  exec:COMMAND     a command's stdin and stdout: 'exec:ssh guest taskd --stdio'

Exit codes:
  0  done                    3  no connection
  1  refused, or failed      4  no answer in time
  2  wrong usage             130  interrupted
"""


class Commands(click.Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names in our order, not the alphabet's."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, name = entry.where.partition(":")
        try:
            home = import_module(module if module.startswith("host_client.") else f"host_client.cli.{module}")
        except ModuleNotFoundError as error:
            return _missing(cmd_name, str(error.name))
        command: click.Command = getattr(home, name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them."""
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.words) for name, entry in entries.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what stands at the end as it stands in the source."""
        write_verbatim(formatter, self.epilog)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete the commands without loading them."""
        from click.shell_completion import CompletionItem

        names = [
            CompletionItem(name, help=entry.words) for name, entry in COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Fail with a suggestion."""
        if args[0] in COMMANDS or args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        import difflib

        near = difflib.get_close_matches(args[0], COMMANDS, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@guest_options
@click.version_option(__version__, message="taskctl %(version)s")
def taskctl(**_shared: Any) -> None:
    """Drive coding agents in a VM or container through its taskd.

    Without --address (or TASKD_ADDRESS) it talks to this user's own daemon, then to the system's.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; give the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character must not end a turn's output.
            stream.reconfigure(errors="replace")
    try:
        return int(taskctl.main(given, prog_name="taskctl", standalone_mode=False) or 0)
    except click.ClickException as error:
        from host_client.cli.complaints import explain_usage

        return explain_usage(error, as_json="--json" in given)
    except click.Abort as error:
        # Click makes one of ctrl-C, too.
        return INTERRUPTED if isinstance(error.__cause__, KeyboardInterrupt) else REFUSED


def _missing(name: str, module: str) -> click.Command:
    def callback() -> None:
        if module.startswith("host_client"):
            raise click.ClickException(f"{name} is not part of this installation")
        extra = {"matplotlib": "bench"}.get(module, "host")
        raise click.ClickException(f"{name} needs the Python module {module}: pip install 'taskd[{extra}]'")

    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(name, callback=callback, add_help_option=False, context_settings=settings)
