"""What makes a click command of a coroutine function: the options that all commands share, their help, their exit code.

A command is a coroutine function that takes a `Guest` first and gives an exit code, or None for 0. Its module imports
what talks to the guest when it is called, never at its top: help and completion must not pay for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import click

from host_client.cli.session import INTERRUPTED, Guest

if TYPE_CHECKING:
    _Number = click.ParamType[float]
else:
    # Before click 8.4 the type takes no parameter.
    _Number = click.ParamType

Work = Callable[..., Coroutine[Any, Any, int | None]]

_SHARED: Final = frozenset({"address", "token_file", "dialect", "as_json", "force"})


class GuestCommand(click.Command):
    """A command whose help shows the options that all commands have in a part of their own, and examples as typed."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those of this command first."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        for title, shared in (("Options", False), ("Options of every command", True)):
            records = [option.get_help_record(ctx) for option in options if (option.name in _SHARED) == shared]
            if rows := [record for record in records if record is not None]:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what stands at the end as it stands in the source."""
        write_verbatim(formatter, self.epilog)


def write_verbatim(formatter: click.HelpFormatter, text: str | None) -> None:
    """Write text that is laid out already."""
    if text:
        formatter.write(f"\n{text.rstrip()}\n")


class _Seconds(_Number):
    """A time above zero."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        try:
            seconds = float(value)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            self.fail(f"{value!r} is not a number of seconds above 0", param, ctx)
        return seconds


SECONDS = _Seconds()


def guest_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which guest is meant, and how to answer."""
    for option in reversed(
        (
            click.option("-a", "--address", metavar="ADDRESS", help="The guest's daemon  [env: TASKD_ADDRESS]"),
            click.option(
                "--token-file",
                type=click.Path(dir_okay=False),
                metavar="FILE",
                help="The token that a TCP guest wants.",
            ),
            click.option("--dialect", type=click.Choice(["jsonrpc", "p0"]), help="The guest's tongue (jsonrpc)."),
            click.option("--json", "as_json", is_flag=True, help="Answer in JSON, one value per line."),
            click.option("--take-driver", "force", is_flag=True, help="Take over from the host that drives."),
        )
    ):
        function = option(function)
    return function


def guest_command(name: str | None = None, *, examples: str = "", **settings: Any) -> Callable[[Work], click.Command]:
    """Make a click command of a coroutine function that takes a `Guest` first."""

    def decorate(work: Work) -> click.Command:
        @wraps(work)
        def callback(**params: Any) -> None:
            context = click.get_current_context()
            guest = guest_of(context)
            own = {key: value for key, value in params.items() if key not in _SHARED}
            context.exit(run(guest, lambda: work(guest, **own)))

        epilog = f"Examples:\n{examples}" if examples else None
        make = click.command(name, cls=GuestCommand, epilog=epilog, **settings)
        return make(guest_options(callback))

    return decorate


def guest_of(context: click.Context, environ: Mapping[str, str] = os.environ) -> Guest:
    """Read the shared options: those after the subcommand count before those in front of it."""
    own, root = context.params, context.find_root().params

    def given(name: str) -> Any:
        return own.get(name) or root.get(name)

    return Guest(
        given("address") or environ.get("TASKD_ADDRESS") or None,
        given("token_file"),
        given("dialect") or "jsonrpc",
        as_json=bool(given("as_json")),
        force=bool(given("force")),
    )


def run(guest: Guest, work: Callable[[], Coroutine[Any, Any, int | None]]) -> int:
    """Run a command to its exit code."""
    import anyio

    return run_blocking(guest, lambda: anyio.run(work))


def run_blocking(guest: Guest, work: Callable[[], int | None]) -> int:
    """Run the work of a command to its exit code; errors become complaints."""
    from host_client.errors import HostError

    try:
        return work() or 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except (HostError, OSError, BaseExceptionGroup) as error:
        return _explain(guest, error)


def _explain(guest: Guest, error: Exception | BaseExceptionGroup[BaseException]) -> int:
    from host_client.cli.complaints import explain, explain_fault, first_host_error

    if _is_broken_pipe(error):
        return _leave_pipe()
    if isinstance(error, OSError):
        return explain_fault(guest, error)
    return explain(guest, first_host_error(error))


def _is_broken_pipe(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(BrokenPipeError) is not None
    return isinstance(error, BrokenPipeError)


def _leave_pipe() -> int:
    """Whoever read our output has what they wanted, as in `taskctl tail | head -1`."""
    # The interpreter flushes standard output once more at its end, and must not fail on it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0
