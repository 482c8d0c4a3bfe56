"""Where settings come from: file, kernel command line, environment, flags. Each turns into entries of one form.

An entry is a raw value with the name of its source; whether the key exists and the value fits is for `settings` to say.
Readers are pure: bytes and mappings come in. Only `Surroundings.here` and `read_sources` touch the process.

This module is read before the daemon listens, so it imports next to nothing and reads the file only if it must.
"""

import os
from collections.abc import Mapping
from typing import Final, NamedTuple

from taskd.model.address import Address, SystemdAddress, default_socket, parse_address

DEFAULT_CONFIG: Final = "/etc/taskd/taskd.toml"
"""Read when it is there and no other is named."""

MAX_CONFIG_BYTES: Final = 1 << 20
"""A settings file above this is refused; real ones are a few hundred bytes."""

MAX_CMDLINE_BYTES: Final = 64 << 10
"""The kernel's own bound is 2 to 4 KiB on most machines."""

PREFIX: Final = "TASKD_"
NOT_SETTINGS: Final = frozenset(
    {"TASKD_CONFIG", "TASKD_KERNEL_CMDLINE", "TASKD_ADDRESS", "TASKD_TOKEN", "TASKD_COOKIE"}
)
"""Names with the prefix that are no settings: where settings are, what the host client reads in the same
shell, and the mark that a daemon puts on what it starts, from which another daemon may be started."""

Key = tuple[str, ...]
"""The path of a setting, such as `("agents", "pi", "env", "FOO")`."""


class Entry(NamedTuple):
    """A raw value. `text` says that its source knows only texts, so that `"4"` may stand for 4."""

    value: object
    source: str
    text: bool


Entries = dict[Key, Entry]


class Problem(NamedTuple):
    """One thing that is wrong with the settings. `key` is dotted and may be empty, `source` says where it stands."""

    key: str
    source: str
    message: str

    def __str__(self) -> str:
        return f"{self.key} ({self.source}): {self.message}" if self.key else f"{self.source}: {self.message}"


class SettingsError(ValueError):
    """Settings that cannot be used, with every problem that was found."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class Surroundings(NamedTuple):
    """What defaults depend on: facts of the process, passed in so that readers stay pure."""

    environ: Mapping[str, str]
    uid: int
    home: str
    cwd: str
    pid: int
    ppid: int

    @classmethod
    def here(cls) -> "Surroundings":
        """Look around in this process."""
        return cls(os.environ, os.geteuid(), os.path.expanduser("~"), os.getcwd(), os.getpid(), os.getppid())


def read_sources(flags: Mapping[str, object], around: Surroundings) -> Entries:
    """Read all sources and lay them over each other, the strongest last: file, kernel, environment, flags.

    Args:
        flags: dotted keys or keys with underscores to values; None means not given. `config` names the file and
            `kernel_cmdline` (true or false) decides whether the kernel command line counts.

    Raises:
        SettingsError: a source cannot be read.
    """
    return _file_layer(flags, around) | _strong_layers(flags, around)


def early_listen(flags: Mapping[str, object], around: Surroundings) -> tuple[Address, ...]:
    """Say where to listen, without looking at any other setting; the full reading comes to the same answer.

    Raises:
        SettingsError, AddressError, TypeError: whoever gets one goes on to the full reading, which explains it.
    """
    entry = _strong_layers(flags, around).get(("listen",)) or _file_layer(flags, around).get(("listen",))
    if entry is None:
        return default_listen(around)
    if not isinstance(entry.value, str | list | tuple):
        raise TypeError("listen")
    return tuple(parse_address(text) for text in split_texts(entry.value))


def default_listen(around: Surroundings) -> tuple[Address, ...]:
    """Say where to listen when nothing is set: on what systemd opened for us, or on the default socket."""
    if around.environ.get("LISTEN_PID") == str(around.pid):
        return (SystemdAddress(),)
    return (default_socket(around.environ, around.uid, around.home),)


def split_texts(value: str | list[str] | tuple[str, ...]) -> list[str]:
    """Give a list as it is; a text is cut at commas and blanks."""
    return value.replace(",", " ").split() if isinstance(value, str) else list(value)


def wants_kernel_cmdline(flags: Mapping[str, object], around: Surroundings) -> bool:
    """Say whether the kernel command line counts: when asked for, or when init is our parent or we are init.

    Elsewhere it would be a surprise: on a developer's machine the words are the machine's, not ours.
    """
    asked = flags.get("kernel_cmdline")
    if asked is None:
        asked = {"1": True, "0": False}.get(around.environ.get("TASKD_KERNEL_CMDLINE", ""))
    return bool(asked) if asked is not None else 1 in (around.pid, around.ppid)


def file_entries(data: bytes, path: str) -> Entries:
    """Read a TOML file.

    Raises:
        SettingsError: it is no TOML.
    """
    import tomllib  # costs as much as the socket module, and most daemons have no file

    source = f"file {path}"
    try:
        tables = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(Problem("", source, f"is no TOML: {error}")) from error
    found: Entries = {}
    _flatten((), tables, source, found)
    return found


def cmdline_entries(text: str) -> Entries:
    """Read the words `taskd.KEY=VALUE` of a kernel command line; a word without a value means true.

    Double quotes keep blanks together, wherever they stand, as the kernel has it. Words after `--` are for init.
    """
    found: Entries = {}
    for word in _cmdline_words(text):
        name, equals, value = word.partition("=")
        if name.startswith("taskd."):
            found[_cmdline_key(name.removeprefix("taskd."))] = Entry(
                value if equals else "true", "kernel command line", True
            )
    return found


def environ_entries(environ: Mapping[str, str]) -> Entries:
    """Read `TASKD_*`: `__` goes a level down, and `TASKD_LIMITS_X` is the same as `TASKD_LIMITS__X`.

    Names become lower case, but for those of an agent's own environment (`TASKD_AGENTS__PI__ENV__KEY`).
    """
    return {
        _environ_key(name.removeprefix(PREFIX)): Entry(value, f"environment {name}", True)
        for name, value in environ.items()
        if name.startswith(PREFIX) and name not in NOT_SETTINGS
    }


def flag_entries(flags: Mapping[str, object]) -> Entries:
    """Read flags: `{"listen": […], "limits.outbox_bytes": "1000"}`; None means that a flag was not given."""
    return {
        tuple(name.split(".")): Entry(value, f"flag --{name.replace('_', '-')}", True)
        for name, value in flags.items()
        if value is not None and name not in ("config", "kernel_cmdline")
    }


def _strong_layers(flags: Mapping[str, object], around: Surroundings) -> Entries:
    kernel = cmdline_entries(_kernel_cmdline()) if wants_kernel_cmdline(flags, around) else {}
    return kernel | environ_entries(around.environ) | flag_entries(flags)


def _file_layer(flags: Mapping[str, object], around: Surroundings) -> Entries:
    named = flags.get("config") or around.environ.get("TASKD_CONFIG")
    path = os.path.join(around.cwd, str(named)) if named else DEFAULT_CONFIG
    try:
        data = _bytes_of(path, MAX_CONFIG_BYTES)
    except FileNotFoundError as error:
        if not named:
            return {}
        raise SettingsError(Problem("", f"file {path}", "does not exist")) from error
    except OSError as error:
        raise SettingsError(Problem("", f"file {path}", f"cannot be read: {error.strerror}")) from error
    if len(data) > MAX_CONFIG_BYTES:
        raise SettingsError(Problem("", f"file {path}", f"is longer than {MAX_CONFIG_BYTES} bytes"))
    return file_entries(data, path)


def _kernel_cmdline() -> str:
    try:
        return _bytes_of("/proc/cmdline", MAX_CMDLINE_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _bytes_of(path: str, most: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(most + 1)


def _flatten(path: Key, value: object, source: str, found: Entries) -> None:
    """Lay tables flat. An empty table stays as an entry, so that `[agents.x]` alone is not lost."""
    if isinstance(value, dict) and (value or not path):
        for name, item in value.items():
            _flatten((*path, name), item, source, found)
    else:
        found[path] = Entry(value, source, False)


def _cmdline_words(text: str) -> list[str]:
    words, word, quoted = [], "", False
    for char in text:
        if char == '"':
            quoted = not quoted
        elif char.isspace() and not quoted:
            words.append(word)
            word = ""
        else:
            word += char
    words = [word for word in (*words, word) if word]
    return words[: words.index("--")] if "--" in words else words


def _cmdline_key(name: str) -> Key:
    """Take `-` for `_`, as the kernel does, but not below `agents`, where names are the user's own."""
    return tuple((name if name.startswith("agents.") else name.replace("-", "_")).split("."))


def _environ_key(name: str) -> Key:
    if name.startswith("LIMITS_") and "__" not in name:
        return "limits", name.removeprefix("LIMITS_").lower()
    parts = name.split("__", 3)
    if len(parts) == 4 and (parts[0], parts[2]) == ("AGENTS", "ENV"):
        return "agents", parts[1].lower(), "env", parts[3]
    return tuple(part.lower() for part in parts)
