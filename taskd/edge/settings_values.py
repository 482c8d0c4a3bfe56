"""How one raw value becomes the value of a setting: one small reader for each kind of value.

A reader takes an entry and gives the value, or raises `WrongValueError` with what was expected. Texts from the
environment, the kernel command line and flags may stand for numbers, truth values and lists; values of a file must have
the right type.
"""

import math
import os.path
from collections.abc import Callable
from typing import Final, TypeVar

from taskd.edge.settings_sources import Entry, split_texts
from taskd.model.address import MAX_UINT32, Address, AddressError, ExecAddress, parse_address

_TRUTHS: Final = {
    "1": True, "true": True, "yes": True, "on": True,
    "0": False, "false": False, "no": False, "off": False,
}  # fmt: skip

T = TypeVar("T")


class WrongValueError(ValueError):
    """A value that does not fit; the message says what was expected, and never repeats the value."""


Reader = Callable[[Entry], object]


def truth(entry: Entry) -> bool:
    """Read true or false."""
    if entry.text and str(entry.value).lower() in _TRUTHS:
        return _TRUTHS[str(entry.value).lower()]
    if isinstance(entry.value, bool):
        return entry.value
    raise WrongValueError("expected true or false")


def text(entry: Entry) -> str:
    """Read a text that is not empty."""
    if isinstance(entry.value, str) and entry.value and "\0" not in entry.value:
        return entry.value
    raise WrongValueError("expected a text")


def any_text(entry: Entry) -> str:
    """Read a text that may be empty."""
    if isinstance(entry.value, str) and "\0" not in entry.value:
        return entry.value
    raise WrongValueError("expected a text")


def empty_table(entry: Entry) -> dict[str, object]:
    """Read a table that holds nothing; what a table holds comes as entries of its own."""
    if entry.value == {} and isinstance(entry.value, dict):
        return {}
    raise WrongValueError("expected a table")


def choice(*words: str) -> Reader:
    """Make a reader of one of these words."""

    def read(entry: Entry) -> str:
        if isinstance(entry.value, str) and entry.value.lower() in words:
            return entry.value.lower()
        raise WrongValueError(f"expected one of {', '.join(words)}")

    return read


def path(home: str, cwd: str) -> Reader:
    """Make a reader of a path; `~/` is the home folder, and a relative path is below `cwd`."""

    def read(entry: Entry) -> str:
        try:
            value = text(entry)
        except WrongValueError:
            raise WrongValueError("expected a path") from None
        value = os.path.join(home, value[2:]) if value.startswith("~/") else value
        value = os.path.normpath(os.path.join(cwd, value))
        if not value.isprintable() and any("\udc80" <= character <= "\udcff" for character in value):
            raise WrongValueError("expected a path in UTF-8: agents and hosts are told it in JSON")
        return value

    return read


def texts(entry: Entry) -> tuple[str, ...]:
    """Read a list of texts."""
    return tuple(_list(entry, "a list of texts", text))


def uints(entry: Entry) -> tuple[int, ...]:
    """Read a list of whole numbers of 32 bits: uids or CIDs."""
    return tuple(_list(entry, f"a list of whole numbers from 0 to {MAX_UINT32}", _uint))


def addresses(entry: Entry) -> tuple[Address, ...]:
    """Read a list of addresses to listen on; none may come twice."""
    found = tuple(_list(entry, "a list of addresses such as unix:/run/taskd/taskd.sock", _address))
    if not found:
        raise WrongValueError("expected at least one address")
    if len(set(found)) != len(found):
        raise WrongValueError("expected each address once")
    return found


def command(entry: Entry) -> tuple[str, ...]:
    """Read a command: a list of arguments, or a text that is split as a shell would (nothing is expanded)."""
    wanted = "a command: a list of texts, or one text"
    if isinstance(entry.value, str):
        import shlex  # rarely needed

        try:
            arguments = shlex.split(entry.value)
        except ValueError as error:
            raise WrongValueError(f"expected {wanted}; {str(error).lower()}") from error
    elif isinstance(entry.value, list | tuple) and all(isinstance(item, str) for item in entry.value):
        arguments = list(entry.value)
    else:
        raise WrongValueError(f"expected {wanted}")
    if not arguments or not arguments[0] or any("\0" in argument for argument in arguments):
        raise WrongValueError(f"expected {wanted}, with a program in its first place")
    return tuple(arguments)


def limit(default: float, most: float = math.inf) -> Reader:
    """Make a reader of a bound: positive, and whole if the default is."""
    whole = isinstance(default, int)
    wanted = "a positive whole number" if whole else "a positive number of seconds"
    if most != math.inf:
        wanted = f"a number above 0 and up to {most:g}"

    def read(entry: Entry) -> float:
        value = _number(entry, whole)
        if value is None or not 0 < value <= most or math.isinf(value):
            raise WrongValueError(f"expected {wanted}")
        return value if whole else float(value)

    return read


def _number(entry: Entry, whole: bool) -> float | None:
    if entry.text:
        try:
            return int(str(entry.value)) if whole else float(str(entry.value))
        except ValueError:
            return None
    if isinstance(entry.value, bool):
        return None
    if isinstance(entry.value, int):
        return entry.value
    return entry.value if isinstance(entry.value, float) and not whole else None


def _uint(entry: Entry) -> int:
    value = _number(entry, whole=True)
    if value is None or not 0 <= value <= MAX_UINT32:
        raise WrongValueError("one item is no such number")
    return int(value)


def _address(entry: Entry) -> Address:
    try:
        found = parse_address(text(entry))
    except AddressError as error:
        raise WrongValueError(str(error)) from error
    if isinstance(found, ExecAddress):
        raise WrongValueError(f"{found} is where a host goes, not where a daemon can listen")
    return found


def _list(entry: Entry, wanted: str, read: Callable[[Entry], T]) -> list[T]:
    if not isinstance(entry.value, list | tuple) and not (entry.text and isinstance(entry.value, str)):
        raise WrongValueError(f"expected {wanted}")
    try:
        return [read(Entry(item, entry.source, entry.text)) for item in split_texts(entry.value)]
    except WrongValueError as error:
        raise WrongValueError(f"expected {wanted}: {error}") from error
