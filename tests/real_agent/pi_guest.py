"""A guest with real pi in it: settings, a home for pi that is this test's own, and the words that stories are told in.

    with guest.daemon() as daemon, daemon.connect() as host:
        host.open("a")
        host.call("prompt", message=script("@text half", "@gate on", "@text whole"))
        said(host, "half")
        guest.model.gate("on").open()

Rules: a story waits for what is said, for a gate of the model, or for a process (`processes`), never for time; every
wait is bounded by the host's or the model's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.kit.daemon import Daemon, Host, event_name
from tests.kit.mock_model import MockModel, ModelRequest
from tests.kit.pi_home import PROVIDER, PiCommand, PiHome

AGENT = "pi"
ASKS = Path(__file__).parents[1] / "kit" / "pi_asks.js"
"""An extension of pi that asks its user."""

QUICK_RETRY = {"retry": {"enabled": True, "maxRetries": 2, "baseDelayMs": 5, "provider": {"maxRetries": 0}}}
"""pi's settings: failures are tried again at once, and only by pi itself."""

SLOW_RETRY = {"retry": {**QUICK_RETRY["retry"], "baseDelayMs": 600_000}}
"""pi's settings: after a failure pi waits longer than any test."""


class PiGuest:
    """One test's guest. Daemons made one after the other are the same guest, started again."""

    def __init__(self, pi: PiCommand, root: Path, model: MockModel) -> None:
        self.pi = pi
        self.root = root
        self.model = model
        self.secrets = root / "pi.env"

    def daemon(
        self,
        *,
        extensions: Sequence[Path] = (),
        pi_settings: Mapping[str, object] | None = None,
        pi_models: Mapping[str, object] | None = None,
        secrets: Mapping[str, str] | None = None,
        settings: str = "",
    ) -> Daemon:
        """A daemon whose one agent is this pi.

        `pi_models` are fields for both of the mock's models, `secrets` go to a private env file, and `settings` are
        TOML lines for the top of the daemon's own file.
        """
        home = PiHome(self.root, self.model.base_url, settings=pi_settings)
        if pi_models:
            self.change_models(**pi_models)
        command = [*self.pi.words, *(word for path in extensions for word in ("-e", str(path)))]
        profile = ['protocol = "pi"', f"command = {json.dumps(command)}", f"env = {_inline(home.env)}"]
        if secrets is not None:
            profile.append(f"env_file = {json.dumps(str(self._private_file(secrets)))}")
        text = "\n".join([f'default_agent = "{AGENT}"', settings, f"[agents.{AGENT}]", *profile])
        return Daemon(self.root, text + "\n")

    def change_models(self, **fields: object) -> None:
        """Change both models of the mock as pi knows them."""
        known, provider = self._known_models()
        for entry in provider["models"]:
            entry.update(fields)
        provider["compat"]["supportsReasoningEffort"] = bool(fields.get("reasoning"))
        self._write_models(known)

    def change_provider(self, **fields: object) -> None:
        """Change the mock as pi knows it."""
        known, provider = self._known_models()
        provider.update(fields)
        self._write_models(known)

    def forget_models(self) -> None:
        """Let pi know no model at all."""
        self._write_models({"providers": {}})

    def native(self, task: str) -> Path:
        """pi's own session file of a task."""
        return self.root / "state" / task / "agent" / "session.jsonl"

    def work(self, task: str) -> Path:
        """A task's own working folder."""
        return self.root / "state" / task / "work"

    def last_request(self) -> ModelRequest:
        """What the model was asked last."""
        return self.model.requests[-1]

    def _private_file(self, secrets: Mapping[str, str]) -> Path:
        self.secrets.touch(mode=0o600)
        self.secrets.write_text("".join(f'{name}="{value}"\n' for name, value in secrets.items()))
        return self.secrets

    def _known_models(self) -> tuple[dict[str, Any], dict[str, Any]]:
        known: dict[str, Any] = json.loads(self._models.read_bytes())
        return known, known["providers"][PROVIDER]

    def _write_models(self, known: Mapping[str, object]) -> None:
        self._models.write_text(json.dumps(known))

    @property
    def _models(self) -> Path:
        return self.root / "pi" / "models.json"


def script(*lines: str) -> str:
    """A prompt of these lines."""
    return "\n".join(lines)


def say(host: Host, *lines: str, **params: Any) -> Any:
    """Prompt with these lines; gives the answer."""
    return host.call("prompt", message=script(*lines), **params)


def said(host: Host, text: str, task: str | None = None) -> None:
    """Wait until the answer has come as far as this text."""
    heard = ""
    while text not in heard:
        heard += host.event("agent_output", task)["chunk"]


def turn(host: Host, *lines: str) -> str:
    """Prompt and wait for the end; gives the answer's text."""
    return host.turn(script(*lines))


def events(host: Host, name: str) -> list[dict[str, Any]]:
    """All events of this name that were seen so far: their params, or P0's whole lines."""
    return [line.get("params", line) for line in host.seen if event_name(line) == name]


def task_view(host: Host, task: str) -> dict[str, Any]:
    """The task as the daemon tells it."""
    view: dict[str, Any] = host.call("get_task", taskId=task)
    return view


def roles(session: Mapping[str, Any], number: int) -> list[str]:
    """Who spoke in a turn of `get_session`, in order."""
    return [message["role"] for message in session["turns"][number - 1]["messages"]]


def _inline(table: Mapping[str, str]) -> str:
    """A TOML inline table; a JSON string is a TOML string."""
    return "{ " + ", ".join(f"{name} = {json.dumps(value)}" for name, value in table.items()) + " }"
