"""What the daemon is told to do: one frozen struct from all sources, in which each value knows where it is from.

`resolve` is pure: entries and facts of the process in, `Settings` or every problem at once out. Unknown keys are
problems too, because a bound with a typing error in its name is a bound that is not there.

Nothing here says what a protocol is or opens an address. Values of agents' `env` never appear in a message.
"""

import re
import sys
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from taskd.agents.base import AgentProfile
from taskd.agents.shell import PROGRAM
from taskd.edge import settings_values as values
from taskd.edge.redaction import MASK, redact_command
from taskd.edge.settings_sources import (
    Entries,
    Entry,
    Key,
    Problem,
    SettingsError,
    Surroundings,
    default_listen,
    read_sources,
)
from taskd.model.address import Address, default_state_dir, default_token_file
from taskd.model.limits import DEFAULT_LIMITS, Limits
from taskd.services.environment import DEFAULT_ENV_PASS, is_variable_name, never_passed

DEFAULT: Final = "default"
"""The source of a value that nobody set."""

HOST_CID: Final = 2
"""VMADDR_CID_HOST: the machine that our VM runs on."""

BUILT_IN_AGENT: Final = "shell"
"""The agent that always exists; it needs nothing but this program."""

BUILT_IN_COMMAND: Final = (sys.executable, "-I", "-S", PROGRAM)
"""Isolated: it starts in the user's folder, where a `json.py` would otherwise take the place of Python's own."""

_AGENT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings. Paths are absolute; `sources` maps dotted keys that somebody set to where that was."""

    state_dir: str
    """The folder of all tasks."""
    listen: tuple[Address, ...]
    default_agent: str
    """The agent of tasks that name none; a key of `agents`."""
    workspace_root: str | None = None
    """The folder below which hosts choose working folders by relative paths."""
    token_file: str
    """The token that TCP hosts must show; made when it is needed and not there."""
    allow_unauthenticated: bool = False
    """Let TCP hosts in without a token."""
    allowed_uids: tuple[int, ...] = ()
    """Who may speak on unix sockets besides our own uid; root only if it is listed."""
    allowed_cids: tuple[int, ...] = (HOST_CID,)
    """Who may speak on vsock."""
    log_format: str = "auto"
    log_level: str = "info"
    env_pass: tuple[str, ...] = DEFAULT_ENV_PASS
    """Names of environment variables that every agent gets; a closing `*` stands for anything."""
    fsync: bool = True
    """False loses turns in a power cut; for tests and throw-away guests."""
    agents: dict[str, AgentProfile]
    limits: Limits = DEFAULT_LIMITS
    sources: dict[str, str] = {}


def load_settings(
    flags: Mapping[str, object], around: Surroundings | None = None, protocols: Collection[str] = ()
) -> Settings:
    """Read every source of this process and put the settings together.

    Args:
        flags: what the command line gave, as `settings_sources.read_sources` takes it.
        around: facts of the process; looked up when left out.
        protocols: names that an agent's protocol may have; empty leaves them unchecked.

    Raises:
        SettingsError: with every problem that was found.
    """
    around = around or Surroundings.here()
    return resolve(read_sources(flags, around), around, protocols)


def resolve(entries: Entries, around: Surroundings, protocols: Collection[str] = ()) -> Settings:
    """Put the settings together from entries, of which the strongest were kept.

    Raises:
        SettingsError: with every problem that was found.
    """
    return _Resolver(entries, around, protocols).settings()


def explain(settings: Settings) -> list[tuple[str, str, str]]:
    """Give `(key, value to show, source)` for every setting, in the struct's order, with secrets masked."""
    rows = [*_plain_rows(settings), *_agent_rows(settings), *_limit_rows(settings)]
    return [(key, shown, settings.sources.get(key, DEFAULT)) for key, shown in rows]


class _Resolver:
    """One pass over the entries that gathers problems instead of stopping at the first."""

    def __init__(self, entries: Entries, around: Surroundings, protocols: Collection[str]) -> None:
        self._entries = entries
        self._around = around
        self._protocols = protocols
        self._problems: list[Problem] = []
        self._read: dict[Key, Any] = {}
        self._path = values.path(around.home, around.cwd)
        self._readers = _top_readers(self._path)

    def settings(self) -> Settings:
        for key, entry in self._entries.items():
            self._take(key, entry)
        top = {key[0]: value for key, value in self._read.items() if key[0] in self._readers}
        top.setdefault("state_dir", default_state_dir(self._around.environ, self._around.uid, self._around.home))
        top.setdefault("token_file", default_token_file(top["state_dir"]))
        top.setdefault("listen", default_listen(self._around))
        top.setdefault("default_agent", BUILT_IN_AGENT)
        agents = self._agents()
        self._check_default_agent(top["default_agent"], agents)
        if self._problems:
            raise SettingsError(*self._problems)
        limits = Limits(**{key[1]: value for key, value in self._read.items() if key[0] == "limits" and len(key) == 2})
        sources = {".".join(key): self._entries[key].source for key in self._read}
        return Settings(**top, agents=agents, limits=limits, sources=sources)

    def _take(self, key: Key, entry: Entry) -> None:
        try:
            self._read[key] = self._reader(key)(entry)
        except values.WrongValueError as error:
            self._problems.append(Problem(".".join(key), entry.source, str(error)))

    def _reader(self, key: Key) -> values.Reader:
        """Find the reader of a key. Raises WrongValueError for a key that does not exist."""
        if key[0] == "agents" and len(key) > 1:
            return self._agent_reader(key)
        if key in (("agents",), ("limits",)):
            return values.empty_table
        if key[0] == "limits" and len(key) == 2:
            return _known(key, {("limits", name): reader for name, reader in _LIMIT_READERS.items()})
        tops = {**self._readers, "agents": values.empty_table, "limits": values.empty_table}
        return _known(key, {(name,): reader for name, reader in tops.items()})

    def _agent_reader(self, key: Key) -> values.Reader:
        if not _AGENT_NAME.match(key[1]):
            raise values.WrongValueError("an agent's name is 1 to 64 of a-z 0-9 _ - and starts with a-z or 0-9")
        if len(key) == 2:
            return values.empty_table
        if len(key) == 4 and key[2] == "env":
            return _variable_reader(key[3])
        fields = {**_AGENT_READERS, "env": values.empty_table, "env_file": self._path}
        return _known(key, {(*key[:2], field): reader for field, reader in fields.items()})

    def _agents(self) -> dict[str, AgentProfile]:
        names = {BUILT_IN_AGENT: None} | {key[1]: None for key in self._entries if key[0] == "agents" and len(key) > 1}
        built = {name: self._agent(name) for name in names if _AGENT_NAME.match(name)}
        return {name: profile for name, profile in built.items() if profile is not None}

    def _agent(self, name: str) -> AgentProfile | None:
        mine = {key[2:]: value for key, value in self._read.items() if key[:2] == ("agents", name)}
        fields = {path[0]: value for path, value in mine.items() if len(path) == 1 and path != ("env",)}
        env = {path[1]: value for path, value in mine.items() if len(path) == 2}
        if name == BUILT_IN_AGENT:
            fields = {"protocol": "pi", "command": BUILT_IN_COMMAND} | fields
        missing = [field for field in ("protocol", "command") if field not in fields]
        for field in missing:
            self._agent_problem(name, field, "must be set")
        if self._protocols and fields.get("protocol") not in (*self._protocols, None):
            self._agent_problem(name, "protocol", f"expected one of {', '.join(sorted(self._protocols))}")
        return None if missing else AgentProfile(**fields, env=env)

    def _agent_problem(self, name: str, field: str, message: str) -> None:
        """Note a problem once: a field that was there and wrong has its own already."""
        key = ("agents", name, field)
        if ".".join(key) not in {problem.key for problem in self._problems}:
            # A missing field has no source; the agent's other entries say where it was meant to stand.
            beside = [entry.source for path, entry in self._entries.items() if path[:2] == key[:2]]
            source = self._entries[key].source if key in self._entries else [*beside, DEFAULT][0]
            self._problems.append(Problem(".".join(key), source, message))

    def _check_default_agent(self, name: str, agents: dict[str, AgentProfile]) -> None:
        entry = self._entries.get(("default_agent",))
        # An agent that has a problem of its own is not missing as well.
        if entry and name not in agents and not any(key[:2] == ("agents", name) for key in self._entries):
            self._problems.append(
                Problem("default_agent", entry.source, f"expected one of {', '.join(sorted(agents))}")
            )


def _known(key: Key, readers: Mapping[Key, values.Reader]) -> values.Reader:
    if key in readers:
        return readers[key]
    import difflib  # only for the message

    near = difflib.get_close_matches(".".join(key), [".".join(path) for path in readers], n=1)
    raise values.WrongValueError("there is no such setting" + (f"; did you mean {near[0]}?" if near else ""))


def _variable_reader(name: str) -> values.Reader:
    if not is_variable_name(name):
        raise values.WrongValueError("is no name that an environment variable can have")
    if never_passed(name):
        raise values.WrongValueError("is a name that no agent is given, because it would act as the daemon")
    return values.any_text


def _top_readers(path: values.Reader) -> dict[str, values.Reader]:
    return {
        "state_dir": path,
        "listen": values.addresses,
        "default_agent": values.text,
        "workspace_root": path,
        "token_file": path,
        "allow_unauthenticated": values.truth,
        "allowed_uids": values.uints,
        "allowed_cids": values.uints,
        "log_format": values.choice("auto", "json", "console"),
        "log_level": values.choice("debug", "info", "warning", "error"),
        "env_pass": _env_pass,
        "fsync": values.truth,
    }


def _env_pass(entry: Entry) -> tuple[str, ...]:
    names = values.texts(entry)
    if bad := next((name for name in names if never_passed(name)), None):
        raise values.WrongValueError(f"{bad} is a name that no agent is given, because it would act as the daemon")
    return names


_AGENT_READERS: Final[dict[str, values.Reader]] = {
    "protocol": values.text,
    "command": values.command,
    "env_pass": _env_pass,
}

_LIMIT_READERS: Final[dict[str, values.Reader]] = {
    name: values.limit(getattr(DEFAULT_LIMITS, name), *((1.0,) if name.endswith("_share") else ()))
    for name in Limits.__struct_fields__
}


def _plain_rows(settings: Settings) -> list[tuple[str, str]]:
    fields = [name for name in Settings.__struct_fields__ if name not in ("agents", "limits", "sources")]
    return [(name, _shown(getattr(settings, name))) for name in fields]


def _agent_rows(settings: Settings) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, profile in settings.agents.items():
        at = f"agents.{name}"
        rows += [(f"{at}.protocol", profile.protocol), (f"{at}.command", _shown(redact_command(profile.command)))]
        rows += [(f"{at}.env.{variable}", MASK) for variable in profile.env]
        rows += [(f"{at}.env_pass", _shown(profile.env_pass)), (f"{at}.env_file", _shown(profile.env_file))]
    return rows


def _limit_rows(settings: Settings) -> list[tuple[str, str]]:
    return [(f"limits.{name}", _shown(getattr(settings.limits, name))) for name in Limits.__struct_fields__]


def _shown(value: object) -> str:
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return " ".join(_shown(item) for item in value) or "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "-" if value is None else str(value)
