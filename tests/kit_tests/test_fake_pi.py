"""The fake pi does what its directives say."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.fake_pi import PROGRAM
from tests.kit.fake_pi_pipes import Pipes, alive, wait_for
from tests.kit.fake_pi_shapes import kind
from tests.kit.pi_goldens import NEW, OLD, VERSIONS

both = pytest.mark.parametrize("dialect", VERSIONS)


class Fake(Pipes):
    """The fake with one session."""

    def __init__(self, session: Path, work: Path, *arguments: str, dialect: str = NEW, **env: str) -> None:
        argv = [sys.executable, PROGRAM, "--mode", "rpc", "--session", str(session), "--dialect", dialect, *arguments]
        super().__init__(argv, cwd=work, env={"PATH": os.environ["PATH"], **env})
        self.session = session
        self.over = "agent_end" if dialect == OLD else "agent_settled"

    def prompt(self, *lines: str, **fields: Any) -> None:
        self.send("prompt", message="\n".join(lines), **fields)

    def settle(self) -> str:
        """Read to the end of the run; the text of its last message."""
        last = self.until("agent_end")["messages"][-1]
        if self.over != "agent_end":
            self.until(self.over)
        return "".join(block.get("text", "") for block in last["content"])

    def types(self) -> list[str]:
        return [line["type"] for line in self.heard]

    def saved(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.session.read_bytes().split(b"\n") if line]
        return [line["message"] for line in lines if line["type"] == "message"]

    def roles(self) -> list[str]:
        return [message["role"] for message in self.saved() if message["role"] != "system"]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def fake(tmp_path: Path, work: Path) -> Iterator[Fake]:
    with Fake(tmp_path / "session.json", work) as agent:
        yield agent


@pytest.fixture
def old(tmp_path: Path, work: Path) -> Iterator[Fake]:
    with Fake(tmp_path / "session.json", work, dialect=OLD) as agent:
        yield agent


# -- answers -----------------------------------------------------------------------------------------------------------


@both
def test_a_prompt_without_directives_is_echoed(tmp_path: Path, work: Path, dialect: str) -> None:
    with Fake(tmp_path / "session.json", work, dialect=dialect) as fake:
        fake.prompt("hi")
        assert fake.settle() == "echo: hi"


def test_texts_are_deltas_of_one_block(fake: Fake) -> None:
    fake.prompt("a comment", '@text "one\\n\u2028"', "@text two", "@stop length", "@usage 3 4")
    assert fake.settle() == "one\n\u2028two"
    end = next(line["message"] for line in fake.heard if line["type"] == "turn_end")
    assert (end["stopReason"], end["usage"]["input"], end["usage"]["output"]) == ("length", 3, 4)


@both
def test_an_instant_turn_is_like_any_other_and_leaves_no_trace(tmp_path: Path, work: Path, dialect: str) -> None:
    with Fake(tmp_path / "session.json", work, dialect=dialect) as fake:
        fake.prompt("@text ok")
        fake.settle()
        usual, fake.heard = [kind(line) for line in fake.heard if "system" not in kind(line)], []
        for _ in range(2):
            fake.prompt("@instant")
            assert fake.settle() == "ok"
        assert [kind(line) for line in fake.heard] == usual * 2
        assert fake.roles() == ["user", "assistant"]


def test_chunks_are_numbered(fake: Fake) -> None:
    fake.prompt("@chunks 3 8")
    assert fake.settle() == "00000...00001...00002..."


def test_an_unknown_directive_is_a_mistake_of_the_test(fake: Fake) -> None:
    fake.prompt("@teh mistake")
    assert "unknown directive: @teh" in fake.errors()
    assert fake.wait() == 70


@both
def test_a_flood_has_every_delta_and_a_short_end(tmp_path: Path, work: Path, dialect: str) -> None:
    with Fake(tmp_path / "session.json", work, dialect=dialect) as fake:
        fake.prompt("@flood 1000 40 100")
        assert len(fake.settle()) == 100
        events = [line["assistantMessageEvent"] for line in fake.heard if line["type"] == "message_update"]
    deltas = [event for event in events if event["type"] == "text_delta"]
    assert len(deltas) == 1000
    assert {len(event["delta"]) for event in deltas} == {40}
    if dialect == OLD:
        grown = [len(event["partial"]["content"][0]["text"]) for event in deltas]
        assert grown == [40 * number for number in range(1, 1001)]


def test_a_flood_can_be_aborted(fake: Fake) -> None:
    fake.prompt("@flood 100000000 100")
    fake.until("message_update")
    fake.send("abort")
    while b'"command":"abort"' not in fake.line():
        pass


def test_a_tool_really_runs_and_its_result_is_answered(fake: Fake, work: Path) -> None:
    fake.prompt('@tool write {"path": "note", "content": "hi"}', '@tool bash {"command": "cat note; exit 3"}')
    assert fake.settle() == "tool said: hi  Command exited with code 3"
    assert (work / "note").read_text() == "hi"
    assert fake.roles() == ["user", "assistant", "toolResult", "assistant", "toolResult", "assistant"]


def test_it_stops_at_a_gate_and_tells_that_it_reached_it(fake: Fake, work: Path) -> None:
    fake.prompt("@reach there", "@gate go", "@text gone")
    wait_for((work / "there").exists, "it is at the gate")
    assert fake.answer("get_state")["data"]["isStreaming"] is True
    (work / "go").touch()
    assert fake.settle() == "gone"


# -- dialogs and the queue ---------------------------------------------------------------------------------------------


def test_a_dialog_without_timeout_waits_and_abort_waits_with_it(fake: Fake) -> None:
    fake.prompt('@confirm {"title": "Sure?", "message": "x"}', "@text never")
    request = fake.until("extension_ui_request")
    fake.send("abort")
    fake.answer("get_state")
    assert "agent_end" not in fake.types()
    fake.send("extension_ui_response", id=request["id"], confirmed=True)
    fake.until("response", id="abort")
    assert fake.heard[-2] == {"type": "agent_settled", "aborted": True}


def test_a_dialog_with_a_timeout_gives_up(fake: Fake) -> None:
    fake.prompt('@select {"title": "Pick", "options": ["a"], "timeout": 1}', "@text on")
    assert fake.settle() == "on"


def test_notices_need_no_answer(fake: Fake) -> None:
    fake.prompt("@notify hello", "@status-line busy")
    fake.settle()
    methods = [line["method"] for line in fake.heard if line["type"] == "extension_ui_request"]
    assert methods == ["notify", "setStatus"]


def test_a_retry_waits_for_its_gate(fake: Fake, work: Path) -> None:
    fake.prompt("@text started", "@retry-gate again", "@status 503")
    assert fake.until("agent_end")["willRetry"] is True
    fake.until("auto_retry_start")
    fake.answer("get_state")
    (work / "again").touch()
    fake.until("agent_start")


# -- misbehaviour ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("directive", "code"), [("@die", -9), ("@die TERM", -15), ("@die 11", -11), ("@exit 7", 7), ("@half", 1)]
)
def test_it_dies_in_the_middle_of_a_turn(fake: Fake, directive: str, code: int) -> None:
    fake.prompt("@text before", directive)
    said = fake.rest()
    assert fake.wait() == code
    assert b'"delta":"before"' in said
    assert b"agent_end" not in said
    assert said.endswith(b"\n") is (directive != "@half")


@both
def test_a_killed_old_one_has_lost_the_prompt_a_new_one_has_not(tmp_path: Path, work: Path, dialect: str) -> None:
    with Fake(tmp_path / "session.json", work, dialect=dialect) as fake:
        fake.prompt("@text before", "@die")
        assert fake.wait() == -9
        assert fake.session.exists() is (dialect == NEW)


@both
def test_a_torn_tail_costs_the_old_one_its_history(tmp_path: Path, work: Path, dialect: str) -> None:
    session = tmp_path / "session.json"
    with Fake(session, work, dialect=dialect) as fake:
        fake.prompt("first")
        fake.settle()
        fake.prompt("@torn")
        assert fake.wait() == -9
    assert not session.read_bytes().endswith(b"\n")
    with Fake(session, work, dialect=dialect) as fake:
        fake.prompt("third")
        fake.settle()
    with Fake(session, work, dialect=dialect) as fake:
        count = fake.answer("get_state")["data"]["messageCount"]
    assert count == (6 if dialect == NEW else 1)


@both
def test_other_content_is_refused_by_the_new_one_and_overwritten_by_the_old_one(
    tmp_path: Path, work: Path, dialect: str
) -> None:
    session = tmp_path / "session.json"
    session.write_text("precious")
    with Fake(session, work, dialect=dialect) as fake:
        fake.close_stdin()
        assert fake.wait() == (1 if dialect == NEW else 0)
    assert ("precious" in session.read_text()) is (dialect == NEW)


def test_a_header_with_a_directory_that_is_gone_is_refused(tmp_path: Path, work: Path) -> None:
    header = {"type": "session", "version": 3, "id": "a", "timestamp": "2026-01-02T03:04:05.678Z", "cwd": "/nowhere"}
    (tmp_path / "session.json").write_text(json.dumps(header) + "\n")
    with Fake(tmp_path / "session.json", work) as fake:
        assert "Stored session working directory does not exist: /nowhere" in fake.errors()
        assert fake.wait() == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (None, 0)])
@both
def test_going_in_the_middle_saves_the_partial_text_only_in_the_new_one(
    tmp_path: Path, work: Path, dialect: str, number: signal.Signals | None, code: int
) -> None:
    with Fake(tmp_path / "session.json", work, dialect=dialect) as fake:
        fake.prompt("one")
        fake.settle()
        fake.prompt("@text before", "@hang")
        fake.until(lambda line: line.get("assistantMessageEvent", {}).get("type") == "text_delta")
        if number is None:
            fake.close_stdin()
        else:
            fake.signal(number)
        assert fake.rest() == b""
        assert fake.wait() == code
        assert fake.roles() == ["user", "assistant", "user", *(["assistant"] if dialect == NEW else [])]


@pytest.mark.parametrize("how", ["kill", "eof", "term"])
@both
def test_a_running_tool_outlives_a_killed_pi_and_an_old_one_without_input(
    tmp_path: Path, work: Path, dialect: str, how: str
) -> None:
    with Fake(tmp_path / "session.json", work, dialect=dialect) as fake:
        fake.prompt('@tool bash {"command": "echo $$ > pid; exec sleep 1000"}')
        wait_for(lambda: (work / "pid").exists() and bool((work / "pid").read_text()), "the tool runs")
        pid = int((work / "pid").read_text())
        fake.until("tool_execution_update")
        if how == "eof":
            fake.close_stdin()
        else:
            fake.signal(signal.SIGKILL if how == "kill" else signal.SIGTERM)
        assert fake.wait() == {"kill": -9, "eof": 0, "term": 143}[how]
    survives = how == "kill" or (how == "eof" and dialect == OLD)
    assert alive(pid) is survives
    if survives:
        os.kill(pid, signal.SIGKILL)


def test_a_hanging_one_still_answers(fake: Fake) -> None:
    fake.prompt("@hang")
    assert fake.answer("get_state")["success"] is True
    assert fake.answer("abort")["success"] is True


def test_a_frozen_one_does_nothing_at_all(fake: Fake, work: Path) -> None:
    fake.prompt("@freeze frozen")
    wait_for((work / "frozen").exists, "it is frozen")
    fake.send("get_state")
    fake.signal(signal.SIGTERM)
    fake.signal(signal.SIGKILL)
    assert b"get_state" not in fake.rest()
    assert fake.wait() == -9


def test_it_can_ignore_sigterm_the_end_of_input_and_null(fake: Fake, work: Path) -> None:
    fake.prompt("@ignore term eof null")
    fake.settle()
    fake.signal(signal.SIGTERM)
    fake.send_bytes(b"null\n")
    assert fake.answer("get_state")["success"] is True
    fake.prompt("@gate go", "@late still here")
    fake.close_stdin()
    (work / "go").touch()
    fake.until("session_info_changed", name="still here")


@both
def test_the_line_null_kills_it(tmp_path: Path, work: Path, dialect: str) -> None:
    with Fake(tmp_path / "session.json", work, dialect=dialect) as fake:
        fake.send_bytes(b"null\n")
        assert fake.wait() == 1


def test_it_can_stop_answering_some_commands_or_all(fake: Fake) -> None:
    fake.prompt("@mute get_state")
    fake.settle()
    fake.send("get_state")
    assert fake.answer("get_messages")["success"] is True
    fake.prompt("@mute")
    fake.settle()
    fake.send("get_messages")
    fake.send("set_session_name", name="x")
    fake.until("session_info_changed")
    assert [line["command"] for line in fake.heard if line["type"] == "response"] == [
        "prompt",
        "get_messages",
        "prompt",
    ]


def test_a_prompt_can_go_unanswered_or_be_refused(fake: Fake) -> None:
    fake.prompt("@silent", "@text hi")
    assert fake.settle() == "hi"
    assert "response" not in fake.types()
    assert fake.answer("prompt", message="@refuse No API key")["error"] == "No API key"


def test_set_model_can_fail(fake: Fake) -> None:
    assert fake.answer("set_model", provider="mock", modelId="mock-2")["success"] is True
    fake.prompt("@fail-model")
    fake.settle()
    assert fake.answer("set_model", provider="mock", modelId="mock-1")["error"] == "Model not found: mock/mock-1"


def test_responses_can_be_swapped(fake: Fake) -> None:
    fake.prompt("@reorder")
    fake.settle()
    fake.send("get_state")
    fake.send("get_messages")
    assert [fake.until("response")["command"] for _ in range(2)] == ["get_messages", "get_state"]


def test_a_grandchild_can_escape_with_the_pipe(fake: Fake, work: Path) -> None:
    fake.prompt("@escape pid", "@die")
    assert fake.wait() == -9
    pid = int((work / "pid").read_text())
    assert alive(pid)
    assert os.getsid(pid) == pid
    assert os.readlink(f"/proc/{pid}/fd/1").startswith("pipe:")
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("directive", "line"),
    [("@noise not json {", b"not json {"), ("@null", b"null"), ("@bad-utf8", b"\xe2\x82"), ("@line 5000000", b'"}')],
)
def test_dirt_on_stdout(fake: Fake, directive: str, line: bytes) -> None:
    fake.prompt(directive)
    fake.close_stdin()
    said = fake.rest().split(b"\n")
    assert any(line in one for one in said)
    assert all(len(one) == 5_000_000 for one in said if len(one) > 4_000_000)


def test_output_without_any_newline(fake: Fake) -> None:
    fake.prompt("@unending 30000000", "@die")
    assert max(map(len, fake.rest().split(b"\n"))) == 30_000_000


def test_a_flood_on_stderr(fake: Fake) -> None:
    fake.prompt("@stderr 1000000")
    fake.settle()
    fake.close_stdin()
    assert len(fake.errors()) == 1_000_000


def test_something_late(fake: Fake) -> None:
    fake.prompt("@late news")
    fake.settle()
    assert fake.until("session_info_changed")["name"] == "news"


def test_it_can_close_its_ends(tmp_path: Path, work: Path) -> None:
    with Fake(tmp_path / "session.json", work) as fake:
        fake.prompt("@close-stdin")
        fake.settle()
        with pytest.raises(BrokenPipeError):
            fake.send("get_state")
    with Fake(tmp_path / "session.json", work) as fake:
        fake.prompt("@close-stdout", "@hang")
        fake.rest()
        assert alive(fake.pid)


# -- the start ---------------------------------------------------------------------------------------------------------


def test_a_slow_start_waits_for_its_gate(tmp_path: Path, work: Path) -> None:
    with Fake(tmp_path / "session.json", work, "--start", "@reach there\n@gate go") as fake:
        fake.send("get_state")
        wait_for((work / "there").exists, "it is at the gate")
        (work / "go").touch()
        assert fake.until("response")["command"] == "get_state"


def test_a_file_in_its_directory_says_how_it_starts(tmp_path: Path, work: Path) -> None:
    (work / ".fake_pi").write_text("@stderr 10\n@exit 3\n")
    with Fake(tmp_path / "session.json", work) as fake:
        assert fake.errors() == "eeeeeeeee\n"
        assert fake.wait() == 3


# -- what only the old one does ----------------------------------------------------------------------------------------


def test_the_old_one_forgets_the_id_of_an_unknown_command(old: Fake) -> None:
    old.send("nope")
    assert "id" not in old.until("response")


def test_the_old_ones_model_becomes_everybodys_default(tmp_path: Path, work: Path) -> None:
    shared = {"PI_CODING_AGENT_DIR": str(tmp_path)}
    with Fake(tmp_path / "one.json", work, dialect=OLD, **shared) as fake:
        fake.answer("set_model", provider="mock", modelId="mock-2")
    with Fake(tmp_path / "two.json", work, dialect=OLD, **shared) as fake:
        assert fake.answer("get_state")["data"]["model"]["id"] == "mock-2"


def test_only_a_thinking_model_has_a_level(fake: Fake) -> None:
    fake.answer("set_thinking_level", level="high")
    assert fake.answer("get_state")["data"]["thinkingLevel"] == "off"
    fake.answer("set_model", provider="mock", modelId="mock-think")
    fake.answer("set_thinking_level", level="high")
    assert fake.answer("get_state")["data"]["thinkingLevel"] == "high"
