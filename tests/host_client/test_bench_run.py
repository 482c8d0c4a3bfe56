"""The harness against real daemons and against one that lies. What is asserted is never how long something took."""

import json
import socket
import threading
from pathlib import Path

import pytest

from host_client.bench.bench import Bench, Options
from host_client.bench.probe import BenchError, Probe
from host_client.bench.report import Figure, read_report
from host_client.bench.run import run_bench
from host_client.bench.scenes import SCENES
from host_client.bench.scenes.stream import Kind, flow
from host_client.bench.system import interpreter
from host_client.errors import DialFailed
from taskd.model.address import UnixAddress
from tests.host_client.taskctl import in_process
from tests.kit.daemon import Daemon

COMMAND = json.dumps(interpreter("agent.py"))
# At the default bound of the outbox a flood may end the channel of a host that had to wait for a core.
LIMITS = "[limits]\noutbox_bytes = 268435456\n"
INSTANT = f'default_agent = "bench"\n[agents.bench]\nprotocol = "pi"\ncommand = {COMMAND}\n{LIMITS}'
KIND = Kind("lines", "@flood", 100, 10)


def names(figures: tuple[Figure, ...]) -> set[str]:
    return {figure.name for figure in figures}


def test_a_daemon_of_its_own_is_measured() -> None:
    report = run_bench(Options(quick=True, scenes=("create", "resume", "switch", "turn", "memory", "cpu"), tasks=(2,)))

    assert report.skipped == ()
    assert names(report.figures) >= {
        "create: to ready",
        "create: above the agent's start",
        "resume: above the agent's start",
        "stop: to task_stopped",
        "switch: 2 tasks",
        "turn: to the last output",
        "turn: to agent_end, with fsync",
        "turn: the save, with fsync",
        "memory: idle",
        "cpu: idle with 10 tasks",
    }
    switch = next(figure for figure in report.figures if figure.scene == "switch")
    assert switch.floor is not None
    assert switch.ratio is not None
    assert [verdict.bar for verdict in switch.verdicts] == ["≤ 2.5 × echo floor", "p95 ≤ 0.500 ms"]
    assert report.machine.cores >= 1


@pytest.mark.parametrize("dialect", ["jsonrpc", "p0"])
def test_a_daemon_at_an_address_is_measured_and_left_as_it_was(tmp_path: Path, dialect: str) -> None:
    scenes = tuple(name for name in SCENES if name not in ("create", "resume"))
    with Daemon(tmp_path, INSTANT) as daemon, daemon.connect() as host:
        report = run_bench(
            Options(quick=True, dialect=dialect, address=f"unix:{daemon.socket}", scenes=scenes, tasks=(2,))
        )
        states = {task["state"] for task in host.call("get_state")["tasks"]}

    assert states == {"stopped"}
    assert names(report.figures) >= {"switch: 2 tasks", "turn: to agent_end"}
    assert names(report.figures) >= {"stream: 100 B deltas", "switch: with 10 observers"}
    assert {skipped.scene for skipped in report.skipped} >= {"start", "memory", "cpu"}
    assert not any("broke off" in skipped.reason for skipped in report.skipped)


def test_tcp_is_measured_beside_a_floor_over_tcp(tmp_path: Path) -> None:
    token = tmp_path / "token"
    with Daemon(tmp_path, INSTANT, listen=("tcp:127.0.0.1:0",), flags=("--token-file", str(token))) as daemon:
        address = next(
            at for line in daemon.logged() if line["event"] == "ready" for at in line["listen"] if at.startswith("tcp:")
        )
        options = Options(quick=True, address=address, token=token.read_text().strip(), scenes=("switch",), tasks=(2,))
        with Bench(options) as bench, bench.floor() as floor:
            assert floor.probe.fileno() > 0
        report = run_bench(options)

    assert names(report.figures) == {"switch: 2 tasks"}


def test_another_agent_is_not_taken_for_the_instant_one(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        report = run_bench(Options(quick=True, address=f"unix:{daemon.socket}", scenes=("turn", "stream")))

    assert report.figures == ()
    assert all("--agent-command" in skipped.reason for skipped in report.skipped[:1])


def test_a_scene_that_breaks_off_does_not_spoil_the_others(tmp_path: Path) -> None:
    settings = '[agents.gone]\nprotocol = "pi"\ncommand = ["/nonexistent"]\n'
    with Daemon(tmp_path, settings) as daemon:
        address = f"unix:{daemon.socket}"
        report = run_bench(Options(quick=True, address=address, agent="gone", scenes=("create", "switch", "memory")))

    assert [skipped.scene for skipped in report.skipped] == ["create", "switch", "memory"]
    assert "create_or_open_task was refused" in report.skipped[0].reason


def test_nobody_at_the_address_is_told_once(tmp_path: Path) -> None:
    with pytest.raises(DialFailed, match="leave --address out"):
        run_bench(Options(address=f"unix:{tmp_path}/none.sock"))


def test_a_daemon_that_does_not_start_is_told_with_its_own_words() -> None:
    with pytest.raises(BenchError, match="no such command"):
        run_bench(Options(daemon=("sh", "-c", "echo no such command >&2; exit 1", "--"), scenes=("memory",)))


def test_an_unknown_scene_is_refused_before_anything_starts() -> None:
    with pytest.raises(BenchError, match="there are start, create"):
        run_bench(Options(scenes=("everything",)))


def lying(path: Path, *lines: dict[str, object]) -> threading.Thread:
    """Serve one host at a socket: whatever it says, these lines."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    server.settimeout(20)

    def serve() -> None:
        with server, server.accept()[0] as host:
            host.recv(65536)
            host.sendall(b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def output(chunk: str) -> dict[str, object]:
    return {"jsonrpc": "2.0", "method": "agent_output", "params": {"taskId": "a", "chunk": chunk}}


END: dict[str, object] = {"jsonrpc": "2.0", "method": "agent_end", "params": {"taskId": "a"}}


@pytest.mark.parametrize(
    "chunks", [["0" * 1000], ["0123456789" * 101], ["0123456789" * 99, "012345678x"]], ids=["other", "more", "changed"]
)
def test_a_text_that_is_not_the_agents_is_no_measurement(tmp_path: Path, chunks: list[str]) -> None:
    thread = lying(tmp_path / "s", *map(output, chunks), END)
    with (
        Probe(UnixAddress(str(tmp_path / "s")), "jsonrpc") as probe,
        pytest.raises(BenchError, match="not the agent's"),
    ):
        flow(probe, KIND)
    thread.join(20)


def test_a_text_in_pieces_of_any_size_is_the_agents(tmp_path: Path) -> None:
    whole = "0123456789" * 100
    thread = lying(tmp_path / "s", output(whole[:7]), output(whole[7:901]), output(whole[901:]), END)
    with Probe(UnixAddress(str(tmp_path / "s")), "jsonrpc") as probe:
        assert flow(probe, KIND).events == 3
    thread.join(20)


def test_a_daemon_that_hangs_up_ends_the_measurement(tmp_path: Path) -> None:
    thread = lying(tmp_path / "s")
    with Probe(UnixAddress(str(tmp_path / "s")), "jsonrpc") as probe, pytest.raises(BenchError, match="closed"):
        probe.call("get_state")
    thread.join(20)


def test_an_error_of_the_turn_is_not_waited_out(tmp_path: Path) -> None:
    error = {"jsonrpc": "2.0", "method": "task_error", "params": {"taskId": "a", "message": "it died"}}
    thread = lying(tmp_path / "s", error)
    with Probe(UnixAddress(str(tmp_path / "s")), "jsonrpc") as probe:
        probe.send(b"{}\n")
        with pytest.raises(BenchError, match="it died"):
            probe.event("agent_end", "a")
    thread.join(20)


def test_the_command_writes_table_report_and_page(tmp_path: Path) -> None:
    json_file, html_file = tmp_path / "a.json", tmp_path / "a.html"
    found = in_process(
        "bench", "--quick", "--only", "switch", "--tasks", "2,3", "--json", str(json_file), "--html", str(html_file)
    )

    assert found.code == 0
    assert "switch: 3 tasks" in found.out
    assert "echo floor" in found.out
    assert names(read_report(json_file).figures) == {"switch: 2 tasks", "switch: 3 tasks"}
    assert "<svg" in html_file.read_text()

    compared = in_process("bench", "--compare", str(json_file), str(json_file))
    assert compared.code == 0
    assert compared.out.count("noise") == 2


def test_the_command_tells_how_the_instant_agent_is_started() -> None:
    found = in_process("bench", "--agent-command")

    assert found.code == 0
    assert found.out.strip().endswith("agent.py")


@pytest.mark.parametrize(
    "arguments", [("--tasks", "0"), ("--tasks", "two"), ("--only", "all"), ("--compare", "a", "b")]
)
def test_wrong_usage_is_told(arguments: tuple[str, ...]) -> None:
    assert in_process("bench", *arguments).code == 2


def test_without_matplotlib_only_the_page_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "host_client.bench.plots", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = in_process("bench", "--quick", "--only", "memory", "--html", str(tmp_path / "a.html"))

    assert found.code == 1
    assert "memory: idle" in found.out
    assert "pip install 'taskd[bench]'" in found.err
