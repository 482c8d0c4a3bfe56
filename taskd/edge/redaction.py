"""Which names stand for secrets, and how their values are hidden, for the log and for `taskd check`.

The rule is by name, because a value does not say what it is. It errs towards hiding, with one exception: counts of
model tokens (`total_tokens`, `max_tokens`) are no secrets, so only a name that ends in `token` is.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

MASK: Final = "***"
"""What is shown in place of a secret."""

MAX_DEPTH: Final = 6
"""Deeper values are masked whole; a log line has no business being deeper, and a cycle must end."""

_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SECRET: Final = re.compile(
    r"(?:^|_)(?:token|secrets?|passwords?|passwd|passphrase|credentials?|authorization|cookies?|key|apikey)\Z"
)


@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Say whether a value under this name (snake, kebab, camel or upper case) is to be hidden."""
    return _SECRET.search(_CAMEL.sub("_", name).replace("-", "_").lower()) is not None


def redact(value: Any, depth: int = 0) -> Any:
    """Give `value` with everything under secret names masked; what holds nothing secret is returned as it is."""
    if isinstance(value, Mapping):
        if depth >= MAX_DEPTH:
            return MASK
        return {name: MASK if is_secret_name(str(name)) else redact(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return MASK if depth >= MAX_DEPTH else [redact(item, depth + 1) for item in value]
    return value


def redact_command(arguments: Iterable[str]) -> list[str]:
    """Give a command line with the values of options such as `--api-key VALUE` and `TOKEN=VALUE` masked."""
    shown: list[str] = []
    hide_next = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        secret = is_secret_name(name.lstrip("-"))
        shown.append(MASK if hide_next else f"{name}={MASK}" if secret and equals else argument)
        hide_next = not hide_next and secret and not equals and argument.startswith("-")
    return shown
