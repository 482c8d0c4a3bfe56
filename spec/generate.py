"""Generates what of the contract follows from the code: `make spec`. A test fails when the files drift from it.

python spec/generate.py            write the files
python spec/generate.py --check    say which files would change, and exit 1 if any
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from taskd import __version__
from taskd.core.lifecycle import CALLS, IGNORED, LIFECYCLE, Trigger
from taskd.edge.methods import METHODS
from taskd.model.calls import PROTOCOL_VERSION
from taskd.model.errors import ERRORS, Code
from taskd.model.events import EVENTS
from taskd.model.limits import DEFAULT_LIMITS, Limits
from taskd.model.states import TaskState
from taskd.wire.piwork import COMMANDS

HERE = Path(__file__).parent
REF = "#/components/schemas/{name}"


def files() -> dict[str, str]:
    """Give every generated file by its name below `spec/`."""
    return {
        "openrpc.json": _json(openrpc()),
        "schema/events.json": _json(event_schema()),
        "lifecycle.md": lifecycle(),
        "errors.md": errors(),
        "events.md": events(),
        "methods.md": methods(),
        "limits.md": limits(),
    }


def openrpc() -> dict[str, Any]:
    """The methods as an OpenRPC 1.3 document."""
    kinds = [kind for method in METHODS.values() for kind in (method.params, method.result)]
    _, components = msgspec.json.schema_components(kinds, ref_template=REF)
    return {
        "openrpc": "1.3.2",
        "info": {
            "title": "taskd",
            "version": __version__,
            "description": f"Protocol version {PROTOCOL_VERSION}; see protocol.md for framing, order and rules.",
        },
        "methods": [_openrpc_method(name, components) for name in METHODS],
        "components": {
            "schemas": components,
            "errors": {
                code.value: {"code": info.number, "message": info.meaning, "data": {"code": code.value}}
                for code, info in ERRORS.items()
            },
        },
    }


def event_schema() -> dict[str, Any]:
    """The events as one JSON Schema: the `params` of each notification."""
    _, components = msgspec.json.schema_components(EVENTS.values(), ref_template="#/$defs/{name}")
    header = {
        "seq": {"type": "integer", "minimum": 0},
        "at": {"type": "string", "format": "date-time"},
        "taskId": {"type": ["string", "null"]},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "taskd events",
        "description": "params of the notification named after the event",
        "$defs": components,
        "properties": {
            name: {
                "allOf": [
                    {"type": "object", "properties": header, "required": ["seq", "at"]},
                    {"$ref": f"#/$defs/{kind.__name__}"},
                ]
            }
            for name, kind in EVENTS.items()
        },
    }


def lifecycle() -> str:
    """The table of states and triggers."""
    head = """\
        # Lifecycle of a task

        Generated from `taskd/core/lifecycle.py`, which says what each trigger means.
        A cell is the next state; or the error that the call is refused with, and nothing changes; or `·`, a fact that
        comes too late or means nothing there.
        A call that is allowed but changes nothing by itself keeps the state: what follows from it comes as a fact.

        ## Calls of hosts
        """
    calls = _table(["state", *(f"`{call}`" for call in CALLS)], _rows(CALLS))
    facts_list = [trigger for trigger in Trigger if trigger not in CALLS]
    facts = _table(["state", *facts_list], _rows(facts_list))
    notes = """\
        ## Notes

        - `ready` means that the agent has answered; a task is selected by `switch_task` alone.
        - At most one task is `active`. The one before it becomes `idle` when the switch is acknowledged, so a prompt
          that is sent before `task_ready` is refused instead of going to the wrong task.
        - `idle` says that another task was selected; its agent may still be finishing a turn, and its events go on.
        - Between the acknowledgement of a `stop_task` and its answer the task keeps its state (`active` becomes `idle`)
          and takes no other call.
        - After a restart of the daemon every task on disk is `stopped`.
        - Each spawn is a new incarnation. What an older one says is dropped.
        """
    return "\n".join((_prose(head), calls, "## Facts\n", facts, _prose(notes)))


def errors() -> str:
    """The table of codes."""
    head = """\
        # Errors

        Generated from `taskd/model/errors.py`.
        JSON-RPC: `error {code: <number>, message, data: {code, retryable, details}}`.
        P0: `error {code, message, retryable, details}`; there `PARSE_ERROR`, `METHOD_NOT_FOUND` and `INVALID_PARAMS`
        are shown as `INVALID_REQUEST`.
        A retryable error may go away without a change of the request, and is never remembered for its request id.
        The message is for people and says what to do next; `details` are for programs.
        """
    rows = [
        [f"`{code}`", str(info.number), "yes" if info.retryable else "no", info.meaning]
        for code, info in ERRORS.items()
    ]
    return _prose(head) + "\n" + _table(["code", "number", "retryable", "meaning"], rows)


def events() -> str:
    """The table of events with their fields."""
    head = """\
        # Events

        Generated from `taskd/model/events.py`; JSON Schema in `schema/events.json`.
        Every event carries `seq` (counts events of this daemon without gaps), `at` (RFC 3339, UTC) and `taskId`.
        JSON-RPC: a notification named after the event, all fields in `params`.
        P0: `{type: "event", event, timestamp, taskId, payload}` with the event's own fields in `payload`.
        Hosts ignore events and fields that they do not know.
        """
    order = """\
        ## Order

        - The reply to a call comes before the events that the call causes. Two exceptions: `create_or_open_task`
          answers when the agent has answered, so `task_bootstrap_state` with `pending` comes before its reply; and P0
          hosts get `task_stopped` before the reply of `stop_task`, as they expect.
        - Per switch: reply, `task_switch_started`, then one of `task_ready`, `task_error`, `task_stopped`, or the
          `task_switch_started` of a later switch, which supersedes it.
        - Per prompt: reply, `turn_started`, any number of `agent_output`, `tool_*`, `usage` and `agent_question`, then
          exactly one of `agent_end` and `task_error`.
        - `agent_end` comes only after the turn is on disk, fsynced, file and folder.
        - Nothing of an incarnation comes after its `task_error`.
        - P0 hosts see the raw lines of the active task's agent before the events that follow from them.
        """
    parts = [_prose(head), _prose(order)]
    for name, kind in EVENTS.items():
        parts.append(f"## `{name}`\n\n{_doc(kind)}\n")
        rows = _fields(kind)
        if rows:
            parts.append(_table(["field", "type", "needed"], rows))
    return "\n".join(parts)


def methods() -> str:
    """The table of methods."""
    head = """\
        # Methods

        Generated from `taskd/edge/methods.py` and `taskd/model/calls.py`; schemas in `openrpc.json`.
        The same methods over every transport, in both dialects.
        `changes`: needs the driver lease unless it is said below, and is remembered by its request id, so that the same
        request sent twice has one effect and one answer.
        `list_models`, `answer`, `take_driver` and `release_driver` need no lease.
        """
    native = {command.method: name for name, command in COMMANDS.items() if name != command.method}
    rows = [
        [f"`{name}`", f"`{native[name]}`" if name in native else "same", "yes" if row.idempotent else "", row.summary]
        for name, row in METHODS.items()
    ]
    parts = [_prose(head), _table(["method", "P0 name", "changes", "what"], rows)]
    for name, row in METHODS.items():
        parts.append(f"## `{name}`\n\n{_doc(row.params)}\n")
        parts += [_table(["param", "type", "needed"], params)] if (params := _fields(row.params)) else []
        parts.append(f"Result: {_doc(row.result)}\n")
        parts += [_table(["result", "type", "always"], result)] if (result := _fields(row.result)) else []
    return "\n".join(parts)


def limits() -> str:
    """The table of bounds."""
    head = """\
        # Limits

        Generated from `taskd/model/limits.py`. Set one under `[limits]` in the settings file, by
        `TASKD_LIMITS__<NAME>` in the environment, or by `taskd.limits.<name>` on the kernel command line.
        Times are in seconds, sizes in bytes.
        """
    source = (HERE.parent / "taskd/model/limits.py").read_text()
    reasons = dict(re.findall(r'^    (\w+): \w+ = [^\n]+\n    """(.*?)"""', source, re.M | re.S))
    rows = [
        [f"`{name}`", f"{getattr(DEFAULT_LIMITS, name):,}", " ".join(reasons[name].split())]
        for name in Limits.__struct_fields__
    ]
    return _prose(head) + "\n" + _table(["limit", "default", "why"], rows)


def _openrpc_method(name: str, components: dict[str, Any]) -> dict[str, Any]:
    method = METHODS[name]
    schema = components[method.params.__name__]
    required = set(schema.get("required", ()))
    return {
        "name": name,
        "summary": method.summary,
        "description": _doc(method.params),
        "paramStructure": "by-name",
        "params": [
            {"name": field, "required": field in required, "schema": kind}
            for field, kind in schema.get("properties", {}).items()
        ],
        "result": {"name": "result", "schema": {"$ref": REF.format(name=method.result.__name__)}},
        "errors": [{"$ref": f"#/components/errors/{code.value}"} for code in Code],
    }


def _rows(triggers: Iterable[Trigger]) -> list[list[str]]:
    chosen = list(triggers)
    return [[f"`{state}`", *(_cell(state, trigger) for trigger in chosen)] for state in TaskState]


def _cell(state: TaskState, trigger: Trigger) -> str:
    entry = LIFECYCLE[state, trigger]
    if entry is IGNORED:
        return "·"
    return f"*{entry}*" if isinstance(entry, Code) else str(entry)


def _fields(kind: type[msgspec.Struct]) -> list[list[str]]:
    (schema,) = (msgspec.json.schema_components([kind], ref_template="{name}")[1][kind.__name__],)
    required = set(schema.get("required", ()))
    return [
        [f"`{name}`", _type(field), "yes" if name in required else f"no, {_default(field)}"]
        for name, field in schema.get("properties", {}).items()
    ]


def _default(field: dict[str, Any]) -> str:
    return f"`{msgspec.json.encode(field['default']).decode()}`" if "default" in field else "empty"


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return f"[{field['$ref']}](openrpc.json)"
    if "anyOf" in field:
        return " or ".join(_type(choice) for choice in field["anyOf"])
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}" if field.get("items") else "list"
    return str(field.get("type", "any"))


def _doc(kind: type) -> str:
    return " ".join((kind.__doc__ or "").split())


def _prose(text: str) -> str:
    return "\n".join(line.removeprefix("        ") for line in text.split("\n"))


def _table(head: Iterable[str], rows: list[list[str]]) -> str:
    titles = [str(title) for title in head]
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    lines += [f"| {' | '.join(cell.replace('|', '∣') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _json(document: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=2).decode() + "\n"


def main(arguments: list[str]) -> int:
    """Write or check the files."""
    drifted = [name for name, text in files().items() if _read(HERE / name) != text]
    if "--check" in arguments:
        print(*(f"spec/{name} is out of date; run `make spec`" for name in drifted), sep="\n")
        return int(bool(drifted))
    for name, text in files().items():
        (HERE / name).parent.mkdir(exist_ok=True)
        (HERE / name).write_text(text)
    print(f"{len(drifted)} of {len(files())} files changed")
    return 0


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
