"""The built-in agent's commands, bad lines and session file; and that it is as small as it says."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskd.agents.shell import PROGRAM
from tests.kit.fake_pi_pipes import Pipes
from tests.kit.fake_pi_shapes import keys, kind
from tests.kit.pi_goldens import NEW
from tests.kit.pi_goldens import said as pi_said
from tests.kit.shell_agent import Shell, said

HEADER = {"type": "session", "version": 3, "id": "task-1", "timestamp": "2026-01-02T03:04:05.678Z"}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def shell(tmp_path: Path, work: Path) -> Iterator[Shell]:
    with Shell(tmp_path / "session.json", work) as agent:
        yield agent


def seed(session: Path, cwd: Path | str, *lines: bytes) -> Path:
    header = json.dumps({**HEADER, "cwd": str(cwd)}).encode()
    session.write_bytes(b"\n".join([header, *lines]) + b"\n")
    return session


# -- lines -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"null",
        b"[1]",
        b"5",
        b"not json",
        b'{"type":"get_state"',
        b'"\xff"',
        b"[" * 100_000,
        b'{"n":' + b"1" * 5000 + b"}",
    ],
)
def test_a_bad_line_gets_a_parse_error_and_harms_nobody(shell: Shell, line: bytes) -> None:
    shell.send_bytes(line + b"\n")
    error = shell.until("response")
    assert (error["command"], error["success"], "id" in error) == ("parse", False, False)
    assert error["error"].startswith("Failed to parse command: ")
    assert shell.answer("get_state")["success"] is True


def test_a_line_over_the_limit_is_skipped_to_its_end(shell: Shell) -> None:
    shell.send_bytes(b'{"type":"prompt","message":"' + b"x" * (9 << 20) + b'"}\n')
    assert shell.until("response")["error"] == "Failed to parse command: the line is too long"
    assert shell.answer("get_state")["success"] is True


def test_lines_may_end_in_crlf_and_blank_ones_are_nothing(shell: Shell) -> None:
    shell.send_bytes(b'\n\r\n{"id":1,"type":"get_state"}\r\n')
    assert shell.until("response")["id"] == 1
    assert len(shell.heard) == 1


@pytest.mark.parametrize(("text", "echoed"), [(b'"a"', "a"), (b"7", 7), (b"null", None), (b"[1]", [1])])
def test_an_id_comes_back_as_it_was(shell: Shell, text: bytes, echoed: Any) -> None:
    shell.send_bytes(b'{"id":' + text + b',"type":"abort"}\n')
    assert shell.until("response")["id"] == echoed


def test_an_id_that_is_no_json_is_left_out(shell: Shell) -> None:
    shell.send_bytes(b'{"id":1e999,"type":"abort"}\n{"type":"abort"}\n')
    assert "id" not in shell.until("response")
    assert "id" not in shell.until("response")


def test_an_unknown_command_is_answered(shell: Shell) -> None:
    assert shell.answer("nope")["error"] == "Unknown command: nope"
    shell.send_bytes(b'{"id":"x","type":7}\n')
    assert shell.until("response")["error"] == "Unknown command: undefined"


@pytest.mark.parametrize("command", ["prompt", "steer", "follow_up", "switch_session", "set_session_name"])
def test_a_missing_text_is_an_error(shell: Shell, command: str) -> None:
    assert "must be a string" in shell.answer(command)["error"]


# -- commands ----------------------------------------------------------------------------------------------------------


def test_its_models_are_the_shells(shell: Shell) -> None:
    models = shell.answer("get_available_models")["data"]["models"]
    assert [(model["provider"], model["id"]) for model in models] == [("builtin", "bash"), ("builtin", "sh")]


def test_the_model_is_chosen_and_survives_a_resume(shell: Shell) -> None:
    assert shell.answer("set_model", provider="builtin", modelId="sh")["data"]["id"] == "sh"
    assert shell.answer_to("echo $0") == "sh\n"
    with Shell(shell.session, Path("/")) as resumed:
        assert resumed.answer("get_state")["data"]["model"]["id"] == "sh"


@pytest.mark.parametrize(("provider", "model"), [("builtin", "zsh"), ("mock", "sh"), (None, None)])
def test_an_unknown_model_is_refused(shell: Shell, provider: str | None, model: str | None) -> None:
    answer = shell.answer("set_model", provider=provider, modelId=model)
    assert answer["error"] == f"Model not found: {provider}/{model}"


def test_a_thinking_level_is_accepted_and_stays_off(shell: Shell) -> None:
    assert shell.answer("set_thinking_level", level="high")["success"] is True
    assert shell.answer("get_state")["data"]["thinkingLevel"] == "off"


def test_state_statistics_and_messages_count_the_same_after_a_resume(shell: Shell) -> None:
    shell.answer_to("echo one")
    shell.answer_to("!tool echo two")
    for agent in (shell, Shell(shell.session, Path("/"))):
        with agent:
            stats = agent.answer("get_session_stats")["data"]
            state = agent.answer("get_state")["data"]
            messages = agent.answer("get_messages")["data"]["messages"]
        assert (stats["userMessages"], stats["assistantMessages"]) == (2, 3)
        assert (stats["toolCalls"], stats["toolResults"], stats["totalMessages"]) == (1, 1, 6)
        assert state["messageCount"] == len(messages) == 6
        assert said(messages[1]) == "one\n"


def test_while_it_runs_it_says_so(shell: Shell, work: Path) -> None:
    os.mkfifo(work / "gate")
    shell.prompt("cat gate")
    assert shell.answer("get_state")["data"]["isStreaming"] is True
    (work / "gate").write_bytes(b"")
    shell.settle()
    assert shell.answer("get_state")["data"]["isStreaming"] is False


def test_a_name_is_told_and_kept(shell: Shell) -> None:
    shell.answer("set_session_name", name="mine")
    assert shell.heard[-2] == {"type": "session_info_changed", "name": "mine"}
    with Shell(shell.session, Path("/")) as resumed:
        assert resumed.answer("get_state")["data"]["sessionName"] == "mine"


def test_its_own_commands_are_listed(shell: Shell) -> None:
    names = [command["name"] for command in shell.answer("get_commands")["data"]["commands"]]
    assert names == ["help", "ask", "confirm", "input"]


# -- the session file --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exists", [True, False])
def test_a_missing_or_empty_file_is_made_a_session(tmp_path: Path, work: Path, exists: bool) -> None:
    session = tmp_path / "deep" / "session.json"
    if exists:
        session.parent.mkdir()
        session.touch()
    with Shell(session, work) as shell:
        shell.answer_to("echo hi")
    header = shell.entries()[0]
    assert (header["type"], header["version"], header["cwd"]) == ("session", 3, str(work))
    assert session.stat().st_mode & 0o077 == 0 or exists


def test_entries_form_a_chain_from_the_header_on(shell: Shell) -> None:
    shell.answer_to("cd /usr")
    shell.answer_to("!tool pwd")
    entries = shell.entries()[1:]
    assert [entry["parentId"] for entry in entries] == [None, *(entry["id"] for entry in entries[:-1])]
    assert all(entry["timestamp"].endswith("Z") for entry in entries)
    assert {entry["type"] for entry in entries} == {"message", "custom"}


def test_the_headers_directory_is_the_one_that_counts(tmp_path: Path, work: Path) -> None:
    with Shell(seed(tmp_path / "session.json", work), Path("/")) as shell:
        assert shell.answer_to("pwd") == f"{work}\n"
        assert shell.answer("get_state")["data"]["sessionId"] == "task-1"


def test_a_directory_that_is_gone_refuses_the_start(tmp_path: Path) -> None:
    with Shell(seed(tmp_path / "session.json", "/nowhere"), tmp_path) as shell:
        assert "Stored session working directory does not exist: /nowhere\n" in shell.errors()
        assert shell.wait() == 1


@pytest.mark.parametrize("content", [b"hello\n", b"{}\n", b'{"type":"message","id":"a"}\n', b"\n", b"\x00" * 100])
def test_what_is_no_session_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "session.json").write_bytes(content)
    with Shell(tmp_path / "session.json", tmp_path) as shell:
        assert "not a valid pi session" in shell.errors()
        assert shell.wait() == 1
    assert (tmp_path / "session.json").read_bytes() == content


@pytest.mark.parametrize("torn", [b'{"type":"mess', b'{"type":"message","id":"x","parentId":"y","message":{"ro\xc3'])
def test_a_torn_tail_costs_that_entry_alone(shell: Shell, torn: bytes) -> None:
    shell.answer_to("echo one")
    with shell.session.open("ab") as file:
        file.write(torn)
    with Shell(shell.session, Path("/")) as resumed:
        resumed.answer_to("echo two")
        assert [said(message) for message in resumed.answer("get_messages")["data"]["messages"]][1::2] == [
            "one\n",
            "two\n",
        ]
    assert torn in shell.session.read_bytes().split(b"\n")


def test_a_last_line_without_newline_that_is_whole_counts(tmp_path: Path, work: Path) -> None:
    session = seed(tmp_path / "session.json", work)
    session.write_bytes(session.read_bytes().rstrip(b"\n"))
    with Shell(session, work) as shell:
        shell.answer_to("echo one")
    assert len(shell.entries()) == 3


def test_nothing_is_written_without_a_session(work: Path) -> None:
    argv = [sys.executable, "-I", "-S", PROGRAM, "--mode", "rpc", "--no-session"]
    with Pipes(argv, cwd=work) as agent:
        agent.send("prompt", message="echo one")
        agent.until("agent_settled")
        assert "sessionFile" not in agent.answer("get_state")["data"]
        assert len(agent.answer("get_messages")["data"]["messages"]) == 2
    assert list(work.iterdir()) == []


def test_another_session_can_be_adopted(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    other = seed(tmp_path / "other.json", tmp_path / "elsewhere")
    assert shell.answer("switch_session", sessionPath=str(other))["data"] == {"cancelled": False}
    assert shell.answer("get_state")["data"]["sessionFile"] == str(other)
    assert shell.answer_to("pwd") == f"{tmp_path}/elsewhere\n"
    assert b"echo" not in shell.session.read_bytes()


def test_adopting_a_missing_file_makes_a_session_of_it(shell: Shell, tmp_path: Path, work: Path) -> None:
    shell.answer("switch_session", sessionPath="../fresh.json")
    assert shell.answer_to("pwd") == f"{work}\n"
    assert (tmp_path / "fresh.json").exists()


def test_a_session_that_cannot_be_adopted_leaves_the_old_one(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "garbage").write_text("garbage")
    assert "not a valid pi session" in shell.answer("switch_session", sessionPath=str(tmp_path / "garbage"))["error"]
    assert shell.answer("get_state")["data"]["sessionFile"] == str(shell.session)


def test_adopting_in_the_middle_of_a_run_aborts_it_first(shell: Shell, tmp_path: Path) -> None:
    shell.prompt("echo started; exec sleep 1000")
    shell.until("message_update")
    shell.answer("switch_session", sessionPath=str(tmp_path / "other.json"))
    assert shell.heard[-2] == {"type": "agent_settled", "aborted": True}
    assert shell.saved()[-1]["stopReason"] == "aborted"


def test_what_waits_for_the_end_of_a_run_is_forgotten_when_the_agent_goes(shell: Shell, tmp_path: Path) -> None:
    shell.prompt("trap '' TERM; echo ready; while :; do sleep 0.01; done")
    shell.until("message_update")
    shell.send("switch_session", sessionPath=str(tmp_path / "other.json"))
    shell.send("abort")
    shell.close_stdin()
    assert shell.wait() == 0
    assert not (tmp_path / "other.json").exists()


def test_a_new_session_is_another_file_with_the_same_directory(shell: Shell, work: Path) -> None:
    shell.answer_to("echo old")
    shell.answer("new_session")
    state = shell.answer("get_state")["data"]
    assert state["messageCount"] == 0
    assert Path(state["sessionFile"]).parent == shell.session.parent
    assert shell.answer_to("pwd") == f"{work}\n"


# -- the program -------------------------------------------------------------------------------------------------------


def test_modules_of_the_work_dir_do_not_shadow_its_own(tmp_path: Path, work: Path) -> None:
    for name in ("json", "select", "loop", "wire", "re"):
        (work / f"{name}.py").write_text("raise SystemExit(99)")
    with Shell(tmp_path / "session.json", work) as shell:
        assert shell.answer_to("echo hi") == "hi\n"


def test_it_starts_as_a_module_too(work: Path) -> None:
    with Pipes([sys.executable, "-m", "taskd.agents.shell", "--no-session"], cwd=work) as agent:
        assert agent.answer("get_state")["success"] is True


@pytest.mark.parametrize("arguments", [["--mode", "tui"], ["--mode"], ["--session"]])
def test_bad_arguments_are_told(work: Path, arguments: list[str]) -> None:
    with Pipes([sys.executable, "-I", "-S", PROGRAM, *arguments], cwd=work) as agent:
        assert agent.errors().startswith("usage: ")
        assert agent.wait() == 2


def test_it_imports_little() -> None:
    """What it costs to start: nothing that is slow, nothing that is not of the standard library."""
    slow = {"asyncio", "subprocess", "dataclasses", "inspect", "typing", "threading", "logging", "datetime", "pathlib"}
    code = "import sys, taskd.agents.shell.agent; print('\\n'.join(sys.modules))"
    root = PROGRAM.rsplit("/", 4)[0]
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env={"PYTHONPATH": root}, stdout=subprocess.PIPE, check=True, timeout=30
    )
    loaded = {name.split(".")[0] for name in done.stdout.decode().split()}
    assert not loaded & slow
    assert loaded <= sys.stdlib_module_names | {"taskd", "__main__"}


# -- likeness to pi ----------------------------------------------------------------------------------------------------

PIS_ALONE = {"responseId", "rawStopReason", "reasoning", "totalFromProvider", "compat", "contextUsage", "sessionName"}
"""Keys that pi's lines have and ours need not: they tell about its providers."""


def _text_turn(shell: Shell, work: Path) -> None:
    shell.prompt("echo one; cat gate; echo two")
    shell.until(lambda line: line.get("assistantMessageEvent", {}).get("delta") == "one\n")
    (work / "gate").write_bytes(b"")
    shell.settle()
    shell.answer("get_session_stats")


def _tool_turn(shell: Shell, work: Path) -> None:
    shell.prompt("!tool echo one; cat gate; echo two; exit 3")
    shell.until(lambda line: line.get("partialResult", {}).get("content") == [{"type": "text", "text": "one\n"}])
    (work / "gate").write_bytes(b"")
    shell.settle()


def _follow_up(shell: Shell, work: Path) -> None:
    shell.prompt("echo one; cat gate")
    shell.until(lambda line: line.get("assistantMessageEvent", {}).get("delta") == "one\n")
    shell.answer("follow_up", message="echo two")
    (work / "gate").write_bytes(b"")
    shell.settle()


def _abort_text(shell: Shell, work: Path) -> None:
    shell.prompt("echo one; exec sleep 1000")
    shell.until(lambda line: line.get("assistantMessageEvent", {}).get("delta") == "one\n")
    shell.answer("abort")
    shell.answer("abort", id="again")


def _abort_tool(shell: Shell, work: Path) -> None:
    shell.prompt("!tool echo one; exec sleep 1000")
    shell.until(lambda line: line.get("partialResult", {}).get("content") == [{"type": "text", "text": "one\n"}])
    shell.answer("abort")


@pytest.fixture(params=[_text_turn, _tool_turn, _follow_up, _abort_text, _abort_tool])
def ours_and_pis(request: pytest.FixtureRequest, shell: Shell, work: Path) -> tuple[Any, Any]:
    """The conversation with our agent, and the recorded one with pi (without its system prompt)."""
    os.mkfifo(work / "gate")
    request.param(shell, work)
    pis = [line for line in pi_said(NEW, request.param.__name__[1:]) if "system" not in kind(line)]
    return shell.heard, pis


def test_it_says_the_same_kinds_of_line_in_the_same_order_as_pi(ours_and_pis: tuple[Any, Any]) -> None:
    ours, pis = ours_and_pis
    updates = ("toolcall_delta", "text_delta", "tool_execution_update")

    def order(lines: list[dict[str, Any]]) -> list[str]:
        kinds = [kind(line) for line in lines]
        return [
            one for one, before in zip(kinds, ["", *kinds], strict=False) if one != before or not one.endswith(updates)
        ]

    assert order(ours) == order(pis)


def test_its_lines_have_the_keys_of_pis_lines(ours_and_pis: tuple[Any, Any]) -> None:
    ours, pis = ours_and_pis
    for what in {kind(line) for line in ours}:
        mine = {key for line in ours if kind(line) == what for key in keys(line)}
        theirs = {key for line in pis if kind(line) == what for key in keys(line)}
        missing = {key for key in theirs - mine if not PIS_ALONE & set(key.replace("[]", "").split("."))}
        system = {key for key in missing if what.startswith("agent_end") and ("sections" in key or "toolsAdded" in key)}
        assert mine - theirs == set(), what
        assert missing - system == set(), what
