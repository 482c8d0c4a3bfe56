"""Comparing what was heard with what a transcript expects. Pure; finds every difference, not only the first.

A JSON value is expected as it is, but an object may have more members than are named, since both sides of the protocol
ignore what they do not know. An object whose names all begin with `$` is a matcher; all its conditions must hold:

    {"$any": true}            whatever, but it must be there       {"$absent": true}      the member must not be there
    {"$bind": "x"}            whatever; remembered as x            {"$use": "x"}          what was remembered as x
    {"$id": "x"}              the id that this run gives to its request x; also in what is said, as $use is
    {"$type": "string"}       also number, integer, boolean, array, object, null
    {"$match": "[0-9a-f]+"}   a string that the whole pattern fits {"$one_of": [1, 2]}    fits at least one of these
    {"$has": [1, 2]}          an array with these elements among others, in any order
    {"$all": [2, 1]}          an array with exactly these elements, in any order
    {"$append": "x"}          a string; joined to what is remembered as x
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

Bindings = dict[str, Any]

RUN: Final = "$run"
"""Bound to what ids of requests begin with."""

SHOWN_CHARS: Final = 200
"""Characters of a value that are shown in a difference."""


class Difference(NamedTuple):
    """One thing that is not as expected, and where: `$.result.tasks[0]`."""

    path: str
    expected: str
    heard: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, heard {self.heard}"


class UnknownMatcher(ValueError):
    """A transcript uses a matcher that does not exist, or a name that was never bound."""


class _Missing:
    """Stands for a member that is not there."""

    def __repr__(self) -> str:
        return "nothing"


_MISSING: Final = _Missing()


def compare(expected: Any, heard: Any, bindings: Bindings) -> list[Difference]:
    """Give every difference; none means that it fits. What is bound is kept only if it does.

    Raises:
        UnknownMatcher: the transcript is wrong.
    """
    trial = dict(bindings)
    found = _compare("$", expected, heard, trial)
    if not found:
        bindings.update(trial)
    return found


def fill(value: Any, bindings: Bindings) -> Any:
    """Give a value to say, with each `{"$use": name}` and `{"$id": name}` replaced.

    Raises:
        UnknownMatcher: the name was never bound.
    """
    if isinstance(value, dict):
        if set(value) == {"$use"}:
            return _bound(value["$use"], bindings)
        if set(value) == {"$id"}:
            return _id_of(value["$id"], bindings)
        return {name: fill(member, bindings) for name, member in value.items()}
    return [fill(item, bindings) for item in value] if isinstance(value, list) else value


def show(value: Any) -> str:
    """Give a value as JSON, shortened."""
    text = repr(value) if isinstance(value, _Missing) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}… ({len(text)} characters)"


def _compare(path: str, expected: Any, heard: Any, bindings: Bindings) -> list[Difference]:
    if isinstance(expected, dict) and expected and all(name.startswith("$") for name in expected):
        return _conditions(path, expected, heard, bindings)
    if isinstance(expected, dict) and isinstance(heard, dict):
        pairs = [(f"{path}.{name}", member, heard.get(name, _MISSING)) for name, member in expected.items()]
        return [one for where, member, other in pairs for one in _compare(where, member, other, bindings)]
    if isinstance(expected, list) and isinstance(heard, list) and len(expected) == len(heard):
        triples = enumerate(zip(expected, heard, strict=True))
        return [one for i, (item, other) in triples for one in _compare(f"{path}[{i}]", item, other, bindings)]
    if _same(expected, heard):
        return []
    return [Difference(path, show(expected), show(heard))]


def _same(expected: Any, heard: Any) -> bool:
    # In Python true equals 1; in JSON it does not.
    return isinstance(expected, bool) == isinstance(heard, bool) and expected == heard


def _conditions(path: str, expected: dict[str, Any], heard: Any, bindings: Bindings) -> list[Difference]:
    if heard is _MISSING:
        return [] if "$absent" in expected else [Difference(path, show(expected), show(heard))]
    found: list[Difference] = []
    for name, wanted in expected.items():
        if name not in _MATCHERS:
            raise UnknownMatcher(f"there is no matcher {name}")
        found += _MATCHERS[name](path, wanted, heard, bindings)
    return found


# Matchers -------------------------------------------------------------------------------------------------------------


def _any(path: str, wanted: Any, heard: Any, bindings: Bindings) -> list[Difference]:
    return []


def _absent(path: str, wanted: Any, heard: Any, bindings: Bindings) -> list[Difference]:
    return [Difference(path, "nothing", show(heard))]


def _bind(path: str, wanted: Any, heard: Any, bindings: Bindings) -> list[Difference]:
    bindings[wanted] = heard
    return []


def _use(path: str, wanted: Any, heard: Any, bindings: Bindings) -> list[Difference]:
    value = _bound(wanted, bindings)
    return [] if _same(value, heard) else [Difference(path, f"{show(value)} (bound as {wanted})", show(heard))]


def _id(path: str, wanted: Any, heard: Any, bindings: Bindings) -> list[Difference]:
    value = _id_of(wanted, bindings)
    return [] if _same(value, heard) else [Difference(path, f"{show(value)} (the id of {wanted})", show(heard))]


def _append(path: str, wanted: Any, heard: Any, bindings: Bindings) -> list[Difference]:
    if not isinstance(heard, str):
        return [Difference(path, "a string", show(heard))]
    bindings[wanted] = bindings.get(wanted, "") + heard
    return []


def _type(path: str, wanted: Any, heard: Any, bindings: Bindings) -> list[Difference]:
    if wanted not in _TYPES:
        raise UnknownMatcher(f"there is no type {wanted}")
    fits = isinstance(heard, _TYPES[wanted]) and (wanted == "boolean" or not isinstance(heard, bool))
    return [] if fits else [Difference(path, f"a value of type {wanted}", show(heard))]


def _match(path: str, wanted: Any, heard: Any, bindings: Bindings) -> list[Difference]:
    if isinstance(heard, str) and re.fullmatch(wanted, heard, re.DOTALL):
        return []
    return [Difference(path, f"a string like {wanted}", show(heard))]


def _one_of(path: str, wanted: Any, heard: Any, bindings: Bindings) -> list[Difference]:
    if any(not compare(choice, heard, bindings) for choice in wanted):
        return []
    return [Difference(path, f"one of {show(wanted)}", show(heard))]


def _has(path: str, wanted: Any, heard: Any, bindings: Bindings) -> list[Difference]:
    if not isinstance(heard, list):
        return [Difference(path, "an array", show(heard))]
    left = list(heard)
    missing = [item for item in wanted if not _taken(item, left, bindings)]
    return [Difference(path, f"an array with {show(item)}", show(heard)) for item in missing]


def _all(path: str, wanted: Any, heard: Any, bindings: Bindings) -> list[Difference]:
    if isinstance(heard, list) and len(heard) != len(wanted):
        return [Difference(path, f"an array of {len(wanted)} elements", show(heard))]
    return _has(path, wanted, heard, bindings)


def _taken(item: Any, left: list[Any], bindings: Bindings) -> bool:
    """Take the first element that fits out of `left`."""
    for index, other in enumerate(left):
        if not compare(item, other, bindings):
            del left[index]
            return True
    return False


def _id_of(name: str, bindings: Bindings) -> str:
    return f"{_bound(RUN, bindings)}-{name}"


def _bound(name: str, bindings: Bindings) -> Any:
    if name not in bindings:
        raise UnknownMatcher(f"nothing is bound as {name}")
    return bindings[name]


_MATCHERS: Final[dict[str, Callable[[str, Any, Any, Bindings], list[Difference]]]] = {
    "$any": _any,
    "$absent": _absent,
    "$bind": _bind,
    "$use": _use,
    "$id": _id,
    "$append": _append,
    "$type": _type,
    "$match": _match,
    "$one_of": _one_of,
    "$has": _has,
    "$all": _all,
}

_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}
