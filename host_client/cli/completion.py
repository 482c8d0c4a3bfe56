"""Shell completion: of commands and options by click, of tasks, agents and questions by asking the guest.

A person waits at the prompt, so nothing heavy is imported here: a unix socket is asked in plain JSON, with one line and
one answer. Guests that are reached in another way are asked with the client, which takes longer to load. Whatever goes
wrong completes with nothing.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem, get_completion_class

from host_client.cli.commands import guest_of
from host_client.cli.session import Guest
from taskd.model.address import AddressError, UnixAddress, client_sockets, parse_address

PATIENCE_SECONDS: Final = 1.0
"""A guest that is slower is completed with nothing."""

MAX_ANSWER_BYTES: Final = 16 << 20
"""The state of a thousand tasks is a tenth of it."""

_SHELLS: Final = ("bash", "zsh", "fish")

if TYPE_CHECKING:
    _Name = click.ParamType[str]
else:
    # Before click 8.4 the type takes no parameter.
    _Name = click.ParamType


class _Task(_Name):
    """The name of a task."""

    name = "task"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer the guest's tasks."""
        tasks = [(str(task["taskId"]), str(task["state"])) for task in _tasks(ctx)]
        return [CompletionItem(name, help=state) for name, state in tasks if name.startswith(incomplete)]


class _Question(_Name):
    """The id of an open question."""

    name = "request_id"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer what agents wait for."""
        questions = [question for task in _tasks(ctx) for question in task["questions"]]
        return [
            CompletionItem(str(question["requestId"]), help=str(question["title"]).split("\n")[0])
            for question in questions
            if str(question["requestId"]).startswith(incomplete)
        ]


class _Agent(_Name):
    """The name of an agent of the guest's settings."""

    name = "agent"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer the guest's agents."""
        agents = _ask(guest_of(ctx), "initialize").get("agents", ())
        return [CompletionItem(agent["name"]) for agent in agents if agent["name"].startswith(incomplete)]


TASK = _Task()
QUESTION = _Question()
AGENT = _Agent()


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
def completion(shell: str | None) -> None:
    """Print the script that makes SHELL (this one) complete taskctl, the names of tasks included.

    \b
      bash   eval "$(taskctl completion bash)"    in ~/.bashrc
      zsh    eval "$(taskctl completion zsh)"     in ~/.zshrc
      fish   taskctl completion fish | source     in ~/.config/fish/config.fish
    """
    from host_client.cli.app import taskctl

    shell = shell or os.path.basename(os.environ.get("SHELL", "bash"))
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell!r}; there is one for {', '.join(_SHELLS)}")
    click.echo(kind(taskctl, {}, "taskctl", "_TASKCTL_COMPLETE").source())


def _tasks(ctx: click.Context) -> list[dict[str, Any]]:
    return list(_ask(guest_of(ctx), "get_state").get("tasks", ()))


def _ask(guest: Guest, method: str) -> dict[str, Any]:
    """Ask the guest something that only reads; nothing if there is no answer."""
    from host_client.errors import HostError

    try:
        address = _nearest() if guest.address is None else parse_address(guest.address)
        if isinstance(address, UnixAddress) and guest.dialect == "jsonrpc":
            return _ask_socket(address.path, method)
        return _ask_client(guest, method)
    except (HostError, OSError, ValueError, KeyError, AddressError):
        return {}


def _nearest() -> UnixAddress:
    places = client_sockets(os.environ, os.getuid(), os.environ.get("HOME", "/"))
    return next((place for place in places if Path(place.path).exists()), places[0])


def _ask_socket(path: str, method: str) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE_SECONDS)
        sock.connect(path)
        sock.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {}}).encode() + b"\n")
        data = bytearray()
        while b"\n" not in data and len(data) < MAX_ANSWER_BYTES:
            part = sock.recv(1 << 16)
            if not part:
                break
            data += part
    # The answer is the first line: what is asked for causes no event, and only initialize brings events.
    answer: dict[str, Any] = json.loads(data.partition(b"\n")[0])["result"]
    return answer


def _ask_client(guest: Guest, method: str) -> dict[str, Any]:
    import anyio
    import msgspec

    async def ask() -> dict[str, Any]:
        with anyio.fail_after(PATIENCE_SECONDS):
            async with guest.connect() as client:
                told = client.hello if method == "initialize" else await client.get_state()
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(told or {}))
        return found

    return anyio.run(ask)
