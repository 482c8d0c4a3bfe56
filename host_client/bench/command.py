"""The command `taskctl bench`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Final

import click
from msgspec.structs import replace

from host_client.bench.bench import Options
from host_client.bench.compare import compare
from host_client.bench.page import write_page
from host_client.bench.processes import DAEMON
from host_client.bench.report import Figure, Report, Skipped, read_report, shown, write_report
from host_client.bench.run import run_bench
from host_client.bench.scenes import SCENES
from host_client.bench.system import interpreter
from host_client.bench.table import markdown, text
from host_client.cli.commands import GuestCommand, guest_of, run_blocking
from host_client.cli.session import Guest, tell_json
from host_client.dial import find_token, read_address

MISSED: Final = 1
"""Exit code of `--check` when a bar was missed."""

EXAMPLES: Final = """\
Examples:
  taskctl bench --quick                        a daemon of its own, in some seconds
  taskctl bench --html page.html --json a.json all of it, with plots, in two or three minutes
  taskctl bench --only switch --tasks 2,500    the warm switch alone, up to 500 real agents
  taskctl bench --address tcp:127.0.0.1:7000 --dialect p0
  taskctl bench --compare a.json b.json        what became faster, and what is noise
  taskctl bench --agent-command                how the instant agent is started, for another daemon's settings
"""


class _Counts(click.ParamType):  # type: ignore[type-arg]
    """Counts of tasks, with commas between them."""

    name = "counts"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read them."""
        if isinstance(value, tuple):
            return value
        try:
            counts = tuple(int(part) for part in value.split(","))
        except ValueError:
            counts = ()
        if not counts or min(counts) < 1:
            self.fail(f"{value!r} is not a list of counts, such as 2,10,50", param, ctx)
        return counts


_file = click.Path(dir_okay=False, path_type=Path)
_report = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(cls=GuestCommand, epilog=EXAMPLES)
@click.option("-a", "--address", metavar="ADDRESS", help="Measure the daemon there, instead of one of its own.")
@click.option("--dialect", type=click.Choice(["jsonrpc", "p0"]), help="The tongue to measure in (jsonrpc).")
@click.option("--quick", is_flag=True, help="Take fewer samples: seconds instead of minutes.")
@click.option("--only", "scenes", type=click.Choice(list(SCENES)), multiple=True, help="This only; may be repeated.")
@click.option("--tasks", type=_Counts(), default=(2, 10, 50), metavar="N,N,…", help="Counts for the switch (2,10,50).")
@click.option("--agent", metavar="NAME", help="The agent to open tasks with, where it is not the daemon's default.")
@click.option("--token-file", metavar="FILE", help="The token that a TCP daemon wants (or set TASKD_TOKEN).")
@click.option("--daemon", metavar="COMMAND", help="How to run taskd, to measure another build of it.")
@click.option("--json", "json_file", type=_file, metavar="FILE", help="Write the report there.")
@click.option("--html", "html_file", type=_file, metavar="FILE", help="Write a page with plots (extra `bench`).")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the table in Markdown.")
@click.option("--check", is_flag=True, help=f"Exit with {MISSED} if a bar was missed.")
@click.option("--compare", "files", type=_report, nargs=2, metavar="FIRST SECOND", help="Compare two reports instead.")
@click.option("--agent-command", is_flag=True, help="Print the instant agent's command instead.")
def bench(
    address: str | None,
    scenes: tuple[str, ...],
    daemon: str | None,
    files: tuple[Path, Path] | None,
    agent_command: bool,
    json_file: Path | None,
    html_file: Path | None,
    as_markdown: bool,
    check: bool,
    token_file: str | None,
    dialect: str | None,
    **chosen: Any,
) -> None:
    """Measure what a host sees: latencies, rates, memory and CPU, beside a floor that is measured in the same run.

    Without --address a daemon of its own runs in a temporary folder; yours is not touched. With it, what needs a
    daemon that may be started and stopped is skipped, and nobody else should drive meanwhile.
    """
    context = click.get_current_context()
    guest = guest_of(context)
    # TASKD_ADDRESS names the daemon that is worked with, which is not meant to be measured by accident.
    address = address or context.find_root().params.get("address")
    if agent_command:
        click.echo(shlex.join(interpreter("agent.py")))
    elif files:
        context.exit(run_blocking(guest, lambda: click.echo(compare(*map(read_report, files)))))
    else:
        command = tuple(shlex.split(daemon)) if daemon else DAEMON
        options = Options(address=address, dialect=guest.dialect, scenes=scenes, daemon=command, **chosen)
        show = _Show(guest, json_file, html_file, as_markdown=as_markdown)
        context.exit(run_blocking(guest, lambda: _measure(options, guest.token_file, show, check=check)))


def _measure(options: Options, token_file: str | None, show: _Show, *, check: bool) -> int:
    if options.address:
        token = find_token(read_address(options.address), None, token_file)
        options = replace(options, token=token)
    report = run_bench(options, show.one)
    show.all(report)
    return MISSED if check and report.missed() else 0


class _Show:
    """Shows figures as they come, on standard error, and the report at the end."""

    def __init__(self, guest: Guest, json_file: Path | None, html_file: Path | None, *, as_markdown: bool) -> None:
        self._as_json = guest.as_json
        self._as_markdown = as_markdown
        self._json_file = json_file
        self._html_file = html_file

    def one(self, found: Figure | Skipped) -> None:
        """Show that something was measured."""
        if isinstance(found, Skipped):
            click.echo(f"{found.scene} skipped: {found.reason}", err=True)
        else:
            click.echo(f"{found.name}  {shown(found.spread.p50, found.unit)} {found.unit}", err=True)

    def all(self, report: Report) -> None:
        """Show the report and write the files. The table comes first: it must not be lost to a file that fails."""
        if self._as_json:
            tell_json(report)
        else:
            click.echo(("\n" if not self._as_markdown else "") + (markdown if self._as_markdown else text)(report))
        if self._json_file:
            write_report(report, self._json_file)
        if self._html_file:
            write_page(report, self._html_file)


__all__ = ["bench", "run_bench"]
