"""Real pi for a test: where each pinned version is installed, and a home of its own to run it in.

    pi = find_pi("pi-1.5")
    if isinstance(pi, Missing):
        pytest.skip(pi.reason)
    home = PiHome(tmp_path, model.base_url)
    spawn(pi.rpc(session=tmp_path / "session.json"), env=home.env, cwd=...)

The versions are in `tests/agents.toml`. A home has its own agent folder (models, settings, credentials) and its own
HOME, so nothing of the user's pi is read or written; only Node's compile cache is shared, since it saves a quarter of
each start. It must not know the rpc protocol, and starts nothing itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kit.install_agents import AGENTS_DIR, is_installed, read_lock

NODE = "node"
PI_NAMES = ("pi-1.5", "pi-0.74")
"""The installed versions by name: the newest, and the newest of the old dialect."""
PROVIDER = "mock"
MODEL = "mock-1"
OTHER_MODEL = "mock-2"
CONTEXT_WINDOW = 128_000
COMPILE_CACHE = "compile-cache"


@dataclass(frozen=True)
class PiCommand:
    """One installed pi: the words that start it, before its flags."""

    name: str
    version: str
    words: tuple[str, ...]

    def rpc(self, *, session: Path | None = None, extensions: Sequence[Path] = ()) -> list[str]:
        """The argv of its rpc mode, with this session file, or with none (then nothing is kept)."""
        kept = ["--session", str(session)] if session else ["--no-session"]
        return [*self.words, "--mode", "rpc", *kept, *(word for path in extensions for word in ("-e", str(path)))]


@dataclass(frozen=True)
class Missing:
    """Why an agent cannot be started, in words for the reason of a skipped test."""

    reason: str


def find_pi(name: str, agents_dir: Path = AGENTS_DIR) -> PiCommand | Missing:
    """The pi of this name (one of `PI_NAMES`) as installed by `make agents`."""
    lock = read_lock()
    for needed in (NODE, name):
        if not is_installed(lock[needed], agents_dir / needed):
            return Missing(f"{lock[needed].package} {lock[needed].version} is not installed: run `make agents`")
    words = (agents_dir / NODE / lock[NODE].entry, agents_dir / name / lock[name].entry)
    return PiCommand(name, lock[name].version, tuple(map(str, words)))


class PiHome:
    """A home below `root` in which pi knows one provider, the mock model at `model_url`, and no network.

    `env` is the whole environment to start it with. `settings` are added to its settings.json.
    """

    def __init__(
        self,
        root: Path,
        model_url: str,
        *,
        settings: Mapping[str, object] | None = None,
        agents_dir: Path = AGENTS_DIR,
    ) -> None:
        self.agent_dir = root / "pi"
        self.home = root / "home"
        self.agent_dir.mkdir(parents=True, exist_ok=True)
        self.home.mkdir(parents=True, exist_ok=True)
        self._write("models.json", {"providers": {PROVIDER: _provider(model_url)}})
        self._write("settings.json", {"defaultProvider": PROVIDER, "defaultModel": MODEL, **(settings or {})})
        self.env = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PI_CODING_AGENT_DIR": str(self.agent_dir),
            "PI_OFFLINE": "1",
            "PI_SKIP_VERSION_CHECK": "1",
            "PI_TELEMETRY": "0",
            "NODE_COMPILE_CACHE": str(agents_dir / COMPILE_CACHE),
        }

    def _write(self, name: str, content: object) -> None:
        (self.agent_dir / name).write_text(json.dumps(content, indent=1), "utf-8")


def _provider(model_url: str) -> dict[str, object]:
    models = [
        {"id": MODEL, "name": "Mock One", "contextWindow": CONTEXT_WINDOW, "maxTokens": 8192},
        {"id": OTHER_MODEL, "name": "Mock Two", "contextWindow": CONTEXT_WINDOW, "maxTokens": 8192},
    ]
    # What pi would send a real OpenAI and a plain chat-completions endpoint does not take.
    compat = {"supportsDeveloperRole": False, "supportsReasoningEffort": False, "maxTokensField": "max_tokens"}
    return {"baseUrl": model_url, "api": "openai-completions", "apiKey": "mock-key", "compat": compat, "models": models}
