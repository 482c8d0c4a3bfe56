"""The daemon's command line. Sockets are bound before the heavy imports, so that hosts can connect at once.

taskd serve [--config FILE] [--state-dir DIR] [--listen ADDRESS ...] ...
taskd --stdio [...]
taskd check [...]
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from taskd import __version__
from taskd.edge.settings_sources import SettingsError, Surroundings, early_listen
from taskd.edge.transports.door import BindError, Bound
from taskd.edge.transports.early import bind_all, release
from taskd.model.address import AddressError, StdioAddress

USAGE_ERROR = 2
"""Exit code for what the caller can mend: flags, settings, addresses (as argparse does)."""
_EPILOG = """\
addresses:
  unix:/PATH            a socket file, for this user (and allowed_uids)
  tcp:HOST:PORT         hosts must show the token of --token-file
  vsock:PORT            hosts of this VM (allowed_cids)
  systemd               sockets passed by socket activation

examples:
  taskd serve                                      listen where taskctl looks by itself
  taskd serve --listen unix:/run/taskd/taskd.sock --listen vsock:5000
  taskd serve --listen tcp:127.0.0.1:7000 --token-file /run/taskd/token
  taskd --stdio                                    one channel on stdin and stdout
  taskd check                                      every setting and where it comes from

Settings come from a TOML file, the kernel command line (taskd.*), the environment (TASKD_*) and flags, the later
stronger. systemd/taskd.toml.example in the sources shows them all.
"""


def run(arguments: Sequence[str]) -> int:
    """Run the command line; give the exit code."""
    given = list(arguments)
    if "--stdio" in given and "serve" not in given:
        given.insert(0, "serve")
    options = vars(_parser().parse_args(given))
    command = options.pop("command")
    return int(_COMMANDS[command](options))


def _serve(options: dict[str, Any]) -> int:
    stdio = options.pop("stdio")
    if stdio and not options.get("listen"):
        options["listen"] = ["stdio"]
    around = Surroundings.here()
    try:
        addresses = early_listen(options, around)
        bound = bind_all(addresses)
    except (BindError, AddressError, SettingsError, TypeError) as error:
        return _explain_failure(options, around, error)
    stdio = stdio or any(isinstance(address, StdioAddress) for address in addresses)
    return _serve_bound(options, around, bound, stdio)


def _serve_bound(options: dict[str, Any], around: Surroundings, bound: list[Bound], stdio: bool) -> int:
    from taskd.agents.registry import PROTOCOLS
    from taskd.edge.settings import load_settings

    try:
        settings = load_settings(options, around, PROTOCOLS)
    except SettingsError as error:
        release(bound)
        return _complain(str(error))
    from taskd.edge.diet import import_lean

    import_lean()
    from taskd.edge.main import serve

    return serve(settings, bound, around, stdio=stdio)


def _check(options: dict[str, Any]) -> int:
    from taskd.agents.registry import PROTOCOLS
    from taskd.edge.settings import explain, load_settings

    as_json = options.pop("json")
    try:
        settings = load_settings(options, Surroundings.here(), PROTOCOLS)
    except SettingsError as error:
        return _complain(str(error))
    rows = explain(settings)
    if as_json:
        import msgspec

        table = {key: {"value": shown, "source": source} for key, shown, source in rows}
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(table)) + b"\n")
        return 0
    width = max(len(key) for key, _, _ in rows)
    for key, shown, source in rows:
        print(f"{key:<{width}}  {shown}  ({source})")
    return 0


def _explain_failure(options: dict[str, Any], around: Surroundings, error: Exception) -> int:
    """Settings explain themselves best when they are read whole; what they do not explain, the error does."""
    from taskd.edge.settings import load_settings

    try:
        load_settings(options, around)
    except SettingsError as better:
        return _complain(str(better))
    return _complain(str(error))


def _complain(message: str, code: int = USAGE_ERROR) -> int:
    for line in message.split("\n"):
        print(f"taskd: {line}", file=sys.stderr)
    print("taskd: `taskd check` shows every setting and where it comes from", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="taskd",
        description="Supervises coding agents inside a VM or container, for a host outside.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"taskd {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    shared = _settings_flags()
    serve = commands.add_parser("serve", parents=[shared], help="run the daemon", allow_abbrev=False)
    serve.add_argument("--stdio", action="store_true", help="one channel on stdin and stdout; its end is ours")
    check = commands.add_parser("check", parents=[shared], help="show every setting and its source", allow_abbrev=False)
    check.add_argument("--json", action="store_true", help="for machines")
    return parser


def _settings_flags() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(add_help=False, argument_default=None)
    flags.add_argument("--config", metavar="FILE", help="settings file (default: /etc/taskd/taskd.toml if it exists)")
    flags.add_argument("--state-dir", metavar="DIR", help="folder of all tasks")
    flags.add_argument("--listen", metavar="ADDRESS", action="append", help="may be given several times")
    flags.add_argument("--workspace-root", metavar="DIR", help="folder below which hosts choose working folders")
    flags.add_argument("--default-agent", metavar="NAME", help="agent of tasks that name none")
    flags.add_argument("--token-file", metavar="FILE", help="the token for TCP; made, 0600, if it is not there")
    flags.add_argument(
        "--allow-unauthenticated",
        action="store_true",
        default=None,
        help="let TCP hosts in WITHOUT a token: whoever reaches the port owns this guest",
    )
    flags.add_argument("--log-format", choices=("auto", "json", "console"), help="auto: console on a terminal")
    flags.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
    flags.add_argument(
        "--kernel-cmdline", action=argparse.BooleanOptionalAction, default=None, help="read taskd.* of /proc/cmdline"
    )
    return flags


_COMMANDS = {"serve": _serve, "check": _check}
