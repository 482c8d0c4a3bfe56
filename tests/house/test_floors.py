"""The floors of the house: imports fall, decisions do no I/O, files stay small. Each rule tells its reason."""

import ast
import re
import sys

import pytest

from tests.house.source import ROOT, docstring_lines, functions, imports, modules

MODULES = modules()
NAMES = {module.name for module in MODULES}

FLOORS = {
    "taskd.model": 0,
    "taskd.core": 1,
    "taskd.wire": 1,
    "taskd.agents": 1,
    "taskd.disk": 1,
    "taskd.sync": 2,
    "taskd.services": 3,
    "taskd.edge": 4,
    "taskd.__main__": 5,
}

SIDEWAYS = {
    ("taskd.agents", "taskd.wire.framing"): "one splitter of lines serves hosts and agents",
}

SHARED_WITH_HOSTS = ("taskd.model", "taskd.wire", "taskd.sync", "taskd.disk")

PURE = ("taskd.model", "taskd.core", "taskd.wire", "taskd.agents")
IMPURE = {"anyio", "asyncio", "os", "random", "secrets", "socket", "structlog", "subprocess", "threading", "time"}
PROGRAM = "taskd.agents.shell"

LOADS_THE_LOOP = {"taskd.edge.diet": "imports asyncio to keep OpenSSL out of it, and uses nothing of it"}

THIRD_PARTY = {"taskd": {"anyio", "msgspec", "structlog"}}

MAX_LINES = 500
MAX_FUNCTION_LINES = 60


def room(name: str) -> str:
    """Give the room that a module is in."""
    return ".".join(name.split(".")[:2])


def house_imports(module):
    for name in imports(module):
        if name in NAMES:
            yield name


@pytest.mark.parametrize("module", [m for m in MODULES if m.name.startswith("taskd.")], ids=lambda m: m.name)
def test_imports_fall(module):
    here = room(module.name)
    assert here in FLOORS, f"{module.name} is in a room without a floor; give {here} one in FLOORS"
    for name in house_imports(module):
        there = room(name)
        if there in (here, "taskd"):
            continue
        allowed = FLOORS.get(there, 99) < FLOORS[here] or any(here == a and name.startswith(b) for a, b in SIDEWAYS)
        assert allowed, f"{module.name} imports {name}: floors import downwards only, so that each can be read alone"


@pytest.mark.parametrize("module", [m for m in MODULES if m.name.startswith("host_client")], ids=lambda m: m.name)
def test_the_host_sees_only_the_shared_floors(module):
    for name in house_imports(module):
        if name.startswith("taskd."):
            assert name.startswith(SHARED_WITH_HOSTS), (
                f"{module.name} imports {name}: host and guest share nouns, wire, sync and disk; nothing of the daemon"
            )


@pytest.mark.parametrize(
    "module",
    # The built-in agent is a program of its own, which the daemon starts and never imports.
    [m for m in MODULES if m.name.startswith(PURE) and not m.name.startswith(PROGRAM)],
    ids=lambda m: m.name,
)
def test_pure_rooms_do_no_io(module):
    for name in imports(module):
        assert name.partition(".")[0] not in IMPURE, (
            f"{module.name} imports {name}: decisions and tongues get time, entropy and bytes passed in,"
            " so that they can be tested without a clock, a process or a socket"
        )


def test_nobody_imports_the_built_in_agents_program():
    """Its face says where it is; the program itself starts fast because it shares nothing with the daemon."""
    inside = f"{PROGRAM}."
    users = [
        m.name for m in MODULES if not m.name.startswith(PROGRAM) for n in house_imports(m) if n.startswith(inside)
    ]

    assert users == []


@pytest.mark.parametrize("module", [m for m in MODULES if m.name.startswith("taskd.core")], ids=lambda m: m.name)
def test_decisions_are_synchronous(module):
    assert not [node for node in ast.walk(module.tree) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]


@pytest.mark.parametrize(
    "module",
    [m for m in MODULES if m.name.startswith(("taskd.services", "taskd.edge")) and m.name not in LOADS_THE_LOOP],
    ids=lambda m: m.name,
)
def test_services_and_doors_use_anyio_alone(module):
    assert "asyncio" not in {name.partition(".")[0] for name in imports(module)}, (
        f"{module.name} imports asyncio: the contract tests run on both of anyio's backends"
    )


@pytest.mark.parametrize("module", [m for m in MODULES if m.name.startswith("taskd")], ids=lambda m: m.name)
def test_the_guest_stays_small(module):
    allowed = THIRD_PARTY["taskd"] | {"taskd"} | set(sys.stdlib_module_names)
    foreign = {name.partition(".")[0] for name in imports(module)} - allowed

    assert not foreign, f"{module.name} imports {foreign}: the daemon has three dependencies and no more"


def test_there_are_no_import_cycles():
    edges = {module.name: set(house_imports(module)) - {module.name} for module in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for target in edges[name]:
                visit(target, (*path, name))
            done.add(name)

    for name in edges:
        visit(name, ())


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.name)
def test_files_are_small_and_say_what_they_are_for(module):
    lines = module.text.count("\n")

    assert lines <= MAX_LINES, f"{module.name} has {lines} lines: too long means a missing noun"
    assert ast.get_docstring(module.tree), f"{module.name} does not say what it is for"


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.name)
def test_functions_are_small(module):
    for function in functions(module):
        length = (function.end_lineno or 0) - function.lineno + 1 - docstring_lines(function)
        assert length <= MAX_FUNCTION_LINES, f"{module.name}.{function.name} has {length} lines"


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.name)
def test_lines_are_split_on_the_newline_byte_alone(module):
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)]
    bad = sorted({node.attr for node in calls} & {"splitlines", "readline", "readlines"})

    assert not bad, f"{module.name} uses {bad}: they split at U+2028 and other characters that are no newline"


def test_every_race_is_listed_where_people_look_for_it():
    durability = (ROOT / "spec" / "durability.md").read_text()
    missing = [m.name for m in MODULES if re.search(r"\bRACE:", m.text) and m.name.rpartition(".")[2] not in durability]

    assert not missing, f"RACE: comments of {missing} are not named in spec/durability.md"
