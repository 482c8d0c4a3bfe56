"""The built-in agent as a program: prompts, answers, tools, questions, and what ends them."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.fake_pi_pipes import alive, wait_for
from tests.kit.shell_agent import Shell, said

TOKENS = {"input", "output", "cacheRead", "cacheWrite", "totalTokens"}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def shell(tmp_path: Path, work: Path) -> Iterator[Shell]:
    with Shell(tmp_path / "session.json", work) as agent:
        yield agent


def hold(shell: Shell, work: Path) -> int:
    """Start a command that runs until it is killed; its pid."""
    shell.prompt("echo started; echo $$ > pid; exec sleep 1000")
    wait_for(lambda: (work / "pid").exists() and (work / "pid").read_text().endswith("\n"), "the command runs")
    shell.until(lambda line: line.get("assistantMessageEvent", {}).get("delta") == "started\n")
    return int((work / "pid").read_text())


# -- answers -----------------------------------------------------------------------------------------------------------


def test_what_a_command_prints_is_the_answer(shell: Shell) -> None:
    assert shell.answer_to("echo one; echo two >&2; echo three") == "one\ntwo\nthree\n"
    assert "".join(shell.deltas()) == "one\ntwo\nthree\n"
    assert [said(message) for message in shell.saved()] == ["echo one; echo two >&2; echo three", "one\ntwo\nthree\n"]


def test_a_turn_has_the_events_of_pi_in_its_order(shell: Shell) -> None:
    shell.answer_to("echo hi")
    assert shell.heard[0] == {
        "id": "prompt",
        "type": "response",
        "command": "prompt",
        "success": True,
        "data": {"disposition": "started"},
    }
    assert shell.types()[1:] == [
        "agent_start",
        "turn_start",
        *("message_start", "message_end"),
        "message_start",
        *("message_update",) * 3,
        "message_end",
        "turn_end",
        "agent_end",
        "agent_settled",
    ]
    assert shell.heard[-2]["willRetry"] is False
    assert shell.heard[-1]["aborted"] is False


def test_an_answer_costs_nothing(shell: Shell) -> None:
    shell.answer_to("echo hi")
    message = next(line for line in shell.heard if line["type"] == "turn_end")["message"]
    assert {message["usage"][kind] for kind in TOKENS} == {0}
    assert set(message["usage"]["cost"].values()) == {0}
    assert (message["stopReason"], message["provider"], message["model"]) == ("stop", "builtin", "bash")


def test_a_command_that_prints_nothing_has_an_empty_answer(shell: Shell) -> None:
    assert shell.answer_to("true") == ""
    assert "message_update" not in shell.types()


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("exit 3", "[exit 3]\n"),
        ("echo no newline | tr -d '\\n'; false", "no newline\n[exit 1]\n"),
        ("kill -9 $$", "[killed by signal 9]\n"),
        ('echo $0 $# "$1"', "bash 0 \n"),
        ("cat", ""),
        ("cat <<END\none\ntwo\nEND\n# a comment", "one\ntwo\n"),
        ("printf '\\377\\342\\202'", "\ufffd\ufffd"),
        ("exec 9>lock; flock 9; cd /; cat $OLDPWD/lock", ""),
        ("yes | head -n 1", "y\n"),
    ],
)
def test_a_command_ends_as_in_a_shell(shell: Shell, command: str, answer: str) -> None:
    assert shell.answer_to(command) == answer


def test_a_character_in_two_pieces_is_one_character(shell: Shell, work: Path) -> None:
    os.mkfifo(work / "gate")
    shell.prompt("printf 'a\\342\\202'; cat gate; printf '\\254b'")
    shell.until(lambda line: line.get("assistantMessageEvent", {}).get("delta") == "a")
    (work / "gate").write_bytes(b"")
    assert shell.settle() == "a\u20acb"


@pytest.mark.parametrize("message", ["a\x00b", "x" * 200_000])
def test_what_cannot_be_run_is_an_error_and_not_the_end(shell: Shell, message: str) -> None:
    assert shell.answer_to(message).startswith("[cannot run: ")
    assert shell.saved()[-1]["stopReason"] == "error"
    assert shell.answer_to("echo on") == "on\n"


def test_a_lone_surrogate_becomes_a_question_mark(shell: Shell) -> None:
    shell.send_bytes(b'{"type":"prompt","message":"echo \\"\\ud800\\""}\n')
    assert shell.settle() == "?\n"


def test_the_middle_of_too_much_output_is_left_out_and_its_end_is_shown(shell: Shell) -> None:
    answer = shell.answer_to("head -c 3000000 /dev/zero | tr '\\0' x; echo the end")
    assert answer.startswith("x" * (1 << 20) + "\n[too much output")
    assert answer.endswith("the end\n")
    assert f"[{3000000 + 8 - (1 << 20) - (32 << 10)} bytes were left out]\n" in answer
    assert "".join(shell.deltas()) == answer
    assert said(shell.saved()[-1]) == answer


# -- directories and jobs ----------------------------------------------------------------------------------------------


def test_cd_lasts_over_prompts_and_over_a_resume(shell: Shell, work: Path) -> None:
    (work / "sub dir").mkdir()
    assert shell.answer_to("pwd") == f"{work}\n"
    shell.answer_to("cd 'sub dir' && exit 1")
    assert shell.answer_to("pwd") == f"{work}/sub dir\n"
    with Shell(shell.session, Path("/")) as resumed:
        assert resumed.answer_to("pwd; echo $PWD") == f"{work}/sub dir\n" * 2


def test_a_directory_that_is_gone_falls_back_to_the_sessions_own(shell: Shell, work: Path) -> None:
    shell.answer_to("mkdir gone; cd gone")
    shell.answer_to("rmdir $PWD")
    assert shell.answer_to("pwd") == f"{work}\n"


def test_exports_do_not_last(shell: Shell) -> None:
    shell.answer_to("export COLOUR=red")
    assert shell.answer_to('echo "[$COLOUR]"') == "[]\n"


def test_a_background_job_does_not_hold_the_turn_and_lives_on(shell: Shell, work: Path) -> None:
    os.mkfifo(work / "gate")
    assert shell.answer_to("(cat gate; echo late; echo still here > after) & echo now") == "now\n"
    (work / "gate").write_bytes(b"")
    wait_for((work / "after").exists, "the job survives its late output")
    assert shell.answer_to("echo next") == "next\n"


def test_a_noisy_background_job_does_not_hold_the_turn_either(shell: Shell, work: Path) -> None:
    shell.prompt("yes & echo $! > pid")
    shell.settle()
    pid = int((work / "pid").read_text())
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)


# -- tools -------------------------------------------------------------------------------------------------------------


def test_a_tool_shows_its_output_as_cumulative_updates(shell: Shell, work: Path) -> None:
    os.mkfifo(work / "gate")
    shell.prompt("!tool echo one; cat gate; echo two; exit 3")
    start = shell.until("tool_execution_start")
    assert (start["toolName"], start["args"]) == ("bash", {"command": "echo one; cat gate; echo two; exit 3"})
    shell.until(lambda line: line.get("partialResult", {}).get("content") == [{"type": "text", "text": "one\n"}])
    (work / "gate").write_bytes(b"")
    end = shell.until("tool_execution_end")
    assert end["toolCallId"] == start["toolCallId"]
    assert end["isError"] is True
    assert end["result"]["content"][0]["text"] == "one\ntwo\n\n\nCommand exited with code 3"
    assert end["result"]["structuredContent"]["exit_code"] == 3
    assert shell.settle() == "[exit 3]\n"
    assert [message["role"] for message in shell.saved()] == ["user", "assistant", "toolResult", "assistant"]


def test_a_tool_shows_the_end_of_much_output(shell: Shell) -> None:
    shell.answer_to("!tool seq 100000")
    end = next(line for line in shell.heard if line["type"] == "tool_execution_end")
    text = end["result"]["content"][0]["text"]
    assert text.startswith("[only the last 51200 bytes are shown]\n")
    assert text.endswith("\n100000\n")
    assert len(text) < 52_000
    assert end["result"]["structuredContent"]["truncated"] is True


def test_a_script_of_several_lines_can_be_a_tool(shell: Shell) -> None:
    assert shell.answer_to("!tool\ncd /usr\npwd") == "Done.\n"
    assert "/usr\n" in [said(message) for message in shell.saved()]


# -- questions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "method", "reply", "answer"),
    [
        ("/ask Pick one | red | green", "select", {"value": "green"}, "green\n"),
        ("/ask Pick one | red | green", "select", {"cancelled": True}, "[cancelled]\n"),
        ("/confirm Really?", "confirm", {"confirmed": True}, "yes\n"),
        ("/confirm Really?", "confirm", {"confirmed": False}, "no\n"),
        ("/input Your name", "input", {"value": "Ada"}, "Ada\n"),
        ("/input Your name", "input", {"value": 7}, "[cancelled]\n"),
    ],
)
def test_a_question_is_answered_by_its_dialog(
    shell: Shell, prompt: str, method: str, reply: dict[str, Any], answer: str
) -> None:
    shell.prompt(prompt)
    request = shell.until("extension_ui_request", method=method)
    shell.send("extension_ui_response", id="somebody else's", value="wrong")
    shell.send("extension_ui_response", id=request["id"], **reply)
    assert shell.settle() == answer


def test_a_selection_names_its_options(shell: Shell) -> None:
    shell.prompt("/ask Pick one | red | green")
    request = shell.until("extension_ui_request")
    assert (request["title"], request["options"]) == ("Pick one", ["red", "green"])


def test_help_tells_what_it_can_do(shell: Shell) -> None:
    answer = shell.answer_to("/help")
    for word in ("/ask", "/confirm", "/input", "!tool", "cd"):
        assert word in answer


def test_an_open_question_is_ended_by_abort(shell: Shell) -> None:
    shell.prompt("/confirm Really?")
    shell.until("extension_ui_request")
    shell.answer("abort")
    assert shell.types()[-4:] == ["turn_end", "agent_end", "agent_settled", "response"]
    assert shell.answer_to("echo on") == "on\n"


# -- abort and the queue -----------------------------------------------------------------------------------------------


def test_abort_kills_the_whole_group_and_answers_last(shell: Shell, work: Path) -> None:
    shell.prompt("sleep 1000 & echo $! > child; echo $$ > leader; echo partial; wait")
    shell.until(lambda line: line.get("assistantMessageEvent", {}).get("delta") == "partial\n")
    shell.answer("abort")
    assert shell.types()[-5:] == ["message_end", "turn_end", "agent_end", "agent_settled", "response"]
    assert shell.heard[-2]["aborted"] is True
    message = shell.heard[-5]["message"]
    assert (said(message), message["stopReason"]) == ("partial\n", "aborted")
    assert message["errorMessage"] == "Request was aborted"
    for name in ("leader", "child"):
        pid = int((work / name).read_text())
        wait_for(lambda pid=pid: not alive(pid), f"{name} is gone")  # type: ignore[misc]


def test_abort_kills_a_command_that_ignores_sigterm(shell: Shell, work: Path) -> None:
    shell.prompt("trap '' TERM; echo $$ > pid; echo ready; while :; do sleep 0.01; done")
    shell.until(lambda line: line.get("assistantMessageEvent", {}).get("delta") == "ready\n")
    shell.answer("abort")
    assert not alive(int((work / "pid").read_text()))


def test_abort_ends_a_tool_as_pi_does(shell: Shell) -> None:
    shell.prompt("!tool echo one; exec sleep 1000")
    shell.until(lambda line: line.get("partialResult", {}).get("content") == [{"type": "text", "text": "one\n"}])
    shell.answer("abort")
    end = next(line for line in shell.heard if line["type"] == "tool_execution_end")
    assert end["result"]["content"][0]["text"] == "one\n\n\nCommand aborted"
    assert [message["role"] for message in shell.saved()] == ["user", "assistant", "toolResult", "assistant"]
    assert shell.saved()[-1]["stopReason"] == "aborted"


def test_abort_without_a_run_succeeds_at_once(shell: Shell) -> None:
    assert shell.answer("abort")["success"] is True
    assert shell.types() == ["response"]


def test_abort_is_heard_while_nobody_reads(shell: Shell, work: Path) -> None:
    shell.prompt("echo $$ > pid; head -c 500000 /dev/zero | tr '\\0' x; touch more; exec sleep 1000")
    wait_for((work / "more").exists, "more is printed than a pipe holds")
    shell.send("abort")
    wait_for(lambda: not alive(int((work / "pid").read_text())), "the command is killed before anything is read")
    shell.until("response", id="abort")
    assert shell.types()[-3:] == ["agent_end", "agent_settled", "response"]


def test_a_command_waits_while_nobody_reads(shell: Shell, work: Path) -> None:
    """Zero bytes become six characters each on the wire, so the outbox is full long before the answer is."""
    shell.prompt("head -c 60000000 /dev/zero; touch done")
    wait_for(shell.stuck, "stdout is full")
    assert not (work / "done").exists()
    assert "[too much output" in shell.settle()
    assert (work / "done").exists()


def test_steering_and_follow_ups_run_in_the_same_run(shell: Shell, work: Path) -> None:
    os.mkfifo(work / "gate")
    shell.prompt("cat gate; echo first")
    assert shell.answer("follow_up", message="echo last")["data"] == {"disposition": "queued"}
    assert shell.answer("steer", message="echo second")["data"] == {"disposition": "queued"}
    assert shell.heard[-2] == {"type": "queue_update", "steering": ["echo second"], "followUp": ["echo last"]}
    (work / "gate").write_bytes(b"")
    end = shell.until("agent_end")
    shell.until("agent_settled")
    assert [said(message) for message in end["messages"][1::2]] == ["first\n", "second\n", "last\n"]
    assert shell.types().count("agent_start") == 1
    assert shell.heard[-3]["type"] == "turn_end"


def test_a_second_prompt_is_refused_or_queued(shell: Shell, work: Path) -> None:
    os.mkfifo(work / "gate")
    shell.prompt("cat gate; echo first")
    refused = shell.answer("prompt", message="echo no", id="p2")
    assert refused["error"].startswith("Agent is already processing.")
    assert shell.answer("prompt", message="echo yes", id="p3", streamingBehavior="followUp")["success"] is True
    (work / "gate").write_bytes(b"")
    assert shell.settle() == "yes\n"


def test_the_queue_can_be_cleared(shell: Shell, work: Path) -> None:
    os.mkfifo(work / "gate")
    shell.prompt("cat gate; echo first")
    shell.answer("steer", message="echo second")
    assert shell.answer("get_state")["data"]["pendingMessageCount"] == 1
    assert shell.answer("clear_queue")["data"] == {"steering": ["echo second"], "followUp": []}
    (work / "gate").write_bytes(b"")
    assert shell.settle() == "first\n"


def test_the_queue_is_bounded(shell: Shell) -> None:
    for _ in range(64):
        shell.answer("steer", message="true")
    assert shell.answer("follow_up", message="true")["success"] is False


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, -2), (None, 0)]
)
def test_an_idle_agent_goes_at_once(shell: Shell, number: signal.Signals | None, code: int) -> None:
    shell.answer("get_state")
    if number is None:
        shell.close_stdin()
    else:
        shell.signal(number)
    assert shell.wait() == code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (None, 0)])
def test_going_in_the_middle_saves_the_partial_answer_and_tells_nothing(
    shell: Shell, work: Path, number: signal.Signals | None, code: int
) -> None:
    pid = hold(shell, work)
    if number is None:
        shell.close_stdin()
    else:
        shell.signal(number)
    assert shell.rest() == b""
    assert shell.wait() == code
    assert not alive(pid)
    assert (said(shell.saved()[-1]), shell.saved()[-1]["stopReason"]) == ("started\n", "aborted")


def test_going_in_the_middle_of_a_tool_saves_its_result(shell: Shell) -> None:
    shell.prompt("!tool echo one; exec sleep 1000")
    shell.until(lambda line: line.get("partialResult", {}).get("content") == [{"type": "text", "text": "one\n"}])
    shell.signal(signal.SIGTERM)
    assert shell.wait() == 143
    assert [message["role"] for message in shell.saved()] == ["user", "assistant", "toolResult", "assistant"]
    assert said(shell.saved()[2]) == "one\n\n\nCommand aborted"


def test_going_kills_a_command_that_ignores_sigterm(shell: Shell, work: Path) -> None:
    shell.prompt("trap '' TERM; echo $$ > pid; echo ready; while :; do sleep 0.01; done")
    shell.until(lambda line: line.get("assistantMessageEvent", {}).get("delta") == "ready\n")
    shell.signal(signal.SIGTERM)
    assert shell.wait() == 143
    assert not alive(int((work / "pid").read_text()))


def test_what_was_asked_before_the_end_of_input_is_answered(shell: Shell) -> None:
    shell.send("get_state")
    shell.close_stdin()
    assert [line["command"] for line in shell.lines()] == ["get_state"]
    assert shell.wait() == 0


def test_a_session_that_cannot_be_written_ends_the_agent_and_its_command(shell: Shell, work: Path) -> None:
    shell.prompt("echo $$ > pid; echo started; rm ../session.json; exec sleep 1000")
    shell.until(lambda line: line.get("assistantMessageEvent", {}).get("delta") == "started\n")
    wait_for(lambda: not shell.session.exists(), "the file is gone")
    shell.send("abort")
    assert "cannot write the session file" in shell.errors()
    assert shell.wait() == 1
    assert not alive(int((work / "pid").read_text()))
