"""The environment of an agent: an allow-list, never the daemon's own.

The daemon's environment holds other agents' keys, systemd's sockets and its own settings; an agent that had them could
spend another's money or speak in the daemon's name. So a child gets, weakest first: the allow-listed names of the
daemon's environment, its profile's `env_pass`, its `env_file`, systemd's credential `NAME.env`, its profile's `env`.

Files are read at every spawn, so that a changed key needs no restart, and nothing of them is kept. No message of this
module holds a value: parse errors give the line's number.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from taskd.agents.base import AgentProfile
from taskd.model.errors import Code, TaskdError
from taskd.model.limits import Limits
from taskd.services.private_file import PrivateFileError, PrivateFileMissingError, read_private_file

DEFAULT_ENV_PASS: Final = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_*", "TZ", "TERM", "TMPDIR",
)  # fmt: skip
"""Names (a closing `*` stands for anything) that every agent gets, where the daemon has them."""

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of an agent when the daemon has none, as when it was started by the kernel."""

NEVER_PASSED: Final = (
    "TASKD_*", "NOTIFY_SOCKET", "LISTEN_*", "WATCHDOG_*", "CREDENTIALS_DIRECTORY", "MAINPID", "FDSTORE",
)  # fmt: skip
"""Names that are never taken over: with them an agent could act as the daemon, or read what only the daemon may."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_DOUBLE: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_SINGLE: Final = re.compile(r"'([^']*)'")
_COMMENT: Final = re.compile(r"\s+#.*", re.DOTALL)


class EnvFileError(ValueError):
    """An env file that is not of the grammar; the message gives the line's number and no content."""


def agent_environment(
    profile: AgentProfile,
    name: str,
    environ: Mapping[str, str],
    *,
    env_pass: Iterable[str],
    limits: Limits,
    uid: int,
) -> dict[str, str]:
    """Build the whole environment for an agent.

    Args:
        profile: the agent's settings.
        name: its name in the settings; systemd's credential is `NAME.env`.
        environ: the daemon's environment.
        env_pass: names or patterns that every agent gets.
        limits: bounds the files.
        uid: who we are; secrets must belong to us or to root.

    Raises:
        TaskdError: `TASK_BOOTSTRAP_FAILED`, when a file of secrets may not be used or cannot be read.
    """
    built = {"PATH": DEFAULT_PATH} | passed_names(environ, (*env_pass, *profile.env_pass))
    try:
        if profile.env_file is not None:
            built |= _secrets(profile.env_file, limits.env_file_bytes, uid)
        built |= _credential(name, environ.get("CREDENTIALS_DIRECTORY"), limits.env_file_bytes, uid)
    except (PrivateFileError, EnvFileError) as error:
        message = f"The secrets of agent {name!r} cannot be used: {error}"
        raise TaskdError(Code.TASK_BOOTSTRAP_FAILED, message, details={"agent": name}) from error
    return built | profile.env


def passed_names(environ: Mapping[str, str], patterns: Iterable[str]) -> dict[str, str]:
    """Give those variables of `environ` that a pattern names and that are not in `NEVER_PASSED`."""
    wanted = tuple(patterns)
    return {
        name: value
        for name, value in environ.items()
        if any(_covers(pattern, name) for pattern in wanted) and not never_passed(name)
    }


def never_passed(name: str) -> bool:
    """Say whether a name is one that no agent may inherit."""
    return any(_covers(pattern, name) for pattern in NEVER_PASSED)


def is_variable_name(name: str) -> bool:
    """Say whether a shell could use this name: letters, digits and underscores, no digit first."""
    return _NAME.match(name) is not None


def parse_env_file(data: bytes) -> dict[str, str]:
    """Read `KEY=VALUE` lines: UTF-8, comments with `#`, an optional `export`, no expansion of any kind.

    `'…'` is literal; `"…"` knows `\\n \\r \\t \\" \\\\ \\$`; a bare value ends at ` #` and is trimmed. The last of
    equal names counts.

    Raises:
        EnvFileError: naming the first bad line.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EnvFileError("it is not UTF-8") from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            name, value = _assignment(stripped, number)
            found[name] = value
    return found


def _assignment(line: str, number: int) -> tuple[str, str]:
    name, equals, value = line.partition("=")
    words = name.split()
    if not equals or not words or words[:-1] not in ([], ["export"]):
        raise EnvFileError(f"line {number} is not KEY=VALUE")
    if not is_variable_name(words[-1]) or name[-1:].isspace():
        raise EnvFileError(f"line {number} has no legal name before its '='")
    if "\0" in value:
        raise EnvFileError(f"line {number} holds a NUL")
    return words[-1], _value(value.strip(), number)


def _value(text: str, number: int) -> str:
    if not text.startswith(('"', "'")):
        return "" if text.startswith("#") else _COMMENT.sub("", text, count=1)
    quoted = (_DOUBLE if text[0] == '"' else _SINGLE).match(text)
    if quoted is None:
        raise EnvFileError(f"line {number} has a quote that is not closed on the same line")
    rest = text[quoted.end() :].strip()
    if rest and not rest.startswith("#"):
        raise EnvFileError(f"line {number} goes on after its closing quote")
    return quoted[1] if text[0] == "'" else _ESCAPED.sub(_unescape, quoted[1])


def _unescape(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[1], match[0])


def _secrets(path: str, max_bytes: int, uid: int, *, group_may_read: bool = False) -> dict[str, str]:
    data = read_private_file(path, max_bytes=max_bytes, uid=uid, group_may_read=group_may_read)
    try:
        return parse_env_file(data)
    except EnvFileError as error:
        raise EnvFileError(f"{path}: {error}") from None


def _credential(name: str, folder: str | None, max_bytes: int, uid: int) -> dict[str, str]:
    """Read `$CREDENTIALS_DIRECTORY/NAME.env`; a service need not have one."""
    if not folder:
        return {}
    try:
        return _secrets(f"{folder}/{name}.env", max_bytes, uid, group_may_read=True)
    except PrivateFileMissingError:
        return {}


def _covers(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
