"""`taskctl conformance`: does a daemon keep the contract?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from host_client.cli.commands import GuestCommand, guest_of, guest_options, run_blocking
from host_client.cli.session import REFUSED, Guest, tell_json, usage

if TYPE_CHECKING:
    from host_client.conformance import Outcome, Report

EXAMPLES: Final = """\
Examples:
  taskctl conformance                              the daemon that is found here
  taskctl conformance unix:/run/taskd/taskd.sock
  taskctl conformance --only abort --dialect p0    one conversation
"""

_SIGNS: Final = {"kept": ("✓", "green"), "broken": ("✗", "bold red"), "skipped": ("-", "dim")}


@click.command(cls=GuestCommand, epilog=EXAMPLES)
@click.argument("place", required=False, metavar="[ADDRESS]")
@click.option("--only", "names", metavar="NAME", multiple=True, help="This conversation only; may be repeated.")
@click.option(
    "--transcripts", metavar="DIR", type=click.Path(exists=True, file_okay=False), help="Conversations of your own."
)
@click.option("-v", "--verbose", is_flag=True, help="Show every difference, not only the first.")
@guest_options
def conformance(place: str | None, names: tuple[str, ...], transcripts: str | None, verbose: bool, **_: Any) -> None:
    """Replay the contract's conversations against the daemon at ADDRESS, and compare what it says.

    It needs the agent named shell, and nobody else may drive meanwhile. Tasks named conformance-… stay behind, stopped.
    Exit code 1 if a conversation was broken. --dialect replays those of one dialect only.
    """
    context = click.get_current_context()
    guest = guest_of(context)
    guest.address = place or guest.address
    dialect = context.params.get("dialect") or context.find_root().params.get("dialect")
    context.exit(run_blocking(guest, lambda: _replay(guest, names, transcripts, dialect, verbose=verbose)))


def _replay(
    guest: Guest, names: tuple[str, ...], transcripts: str | None, dialect: str | None, *, verbose: bool
) -> int:
    import anyio

    from host_client.conformance import TranscriptError, load, run
    from host_client.dial import find_token, read_address

    try:
        wanted = load(Path(transcripts) if transcripts else None, names)
    except TranscriptError as error:
        usage(str(error))
    # Nobody there is not a broken contract: it is told once, and with its own exit code.
    anyio.run(_knock, guest)
    token = find_token(read_address(guest.address), None, guest.token_file)
    view = _View(guest, verbose=verbose)
    report = run(guest.address, wanted, (dialect,) if dialect else None, token=token, tell=view.show)
    view.end(report)
    return 0 if report.kept else REFUSED


async def _knock(guest: Guest) -> None:
    async with guest.connect():
        pass


class _View:
    """Shows outcomes as they come."""

    def __init__(self, guest: Guest, *, verbose: bool) -> None:
        from host_client.cli.screen import out

        self._as_json = guest.as_json
        self._verbose = verbose
        self._screen = out()
        self._broken = 0

    def show(self, outcome: Outcome) -> None:
        """Show one conversation's verdict, and the difference if it is the first."""
        if self._as_json:
            tell_json({"outcome": outcome._asdict()})
            return
        sign, style = _SIGNS[outcome.verdict]
        self._screen.line(f"{self._screen.paint(sign, style)} {outcome.dialect:<8} {outcome.transcript}")
        if outcome.verdict == "broken":
            self._broken += 1
        lines = outcome.why.split("\n") if outcome.why else []
        whole = self._verbose or outcome.verdict != "broken" or self._broken == 1
        for line in lines if whole else lines[:1]:
            self._screen.paragraph(f"    {self._screen.shown(line)}", "" if outcome.verdict == "broken" else "dim")

    def end(self, report: Report) -> None:
        """Show the counts."""
        from host_client.conformance import Verdict

        counts = {verdict.value: report.count(verdict) for verdict in Verdict}
        if self._as_json:
            tell_json({"result": {"address": report.address, "conforms": report.kept, **counts}})
            return
        told = ", ".join(f"{number} {verdict}" for verdict, number in counts.items() if number)
        word, style = ("keeps the contract", "bold green") if report.kept else ("breaks the contract", "bold red")
        self._screen.line(f"\n{report.address} {self._screen.paint(word, style)}: {told or 'nothing was replayed'}")
