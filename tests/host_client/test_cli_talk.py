"""`taskctl prompt | steer | follow-up | abort`: turns, with pipes for standard input and output."""

import base64
import os
import signal
import subprocess

from tests.host_client.cli_fixtures import daemon, task, taskctl
from tests.host_client.taskctl import COMMAND, finish

__all__ = ["daemon", "task", "taskctl"]


def events(result):
    return [value.get("event") for value in result.values]


def test_the_answer_is_on_standard_output_and_nothing_else_is(taskctl, task):
    taskctl("open", task)
    result = taskctl("prompt", "!tool echo used")
    assert (result.code, result.out) == (0, "Done.\n")
    assert result.err == "⚙ bash echo used\nused\n"


def test_words_are_one_message(taskctl, task):
    taskctl("open", task)
    assert taskctl("prompt", "echo", "two", "words").out == "two words\n"


def test_messages_of_a_turn_are_parted_by_a_blank_line_and_the_last_one_ends_its_line(taskctl, task):
    taskctl("open", task, "--agent", "fake")
    message = '@text I will look.\n@tool bash {"command":"true"}\n@text There is nothing.'
    result = taskctl("prompt", message)
    assert result.out == "I will look.\n\nThere is nothing.\n"
    assert taskctl("prompt", message, "--json").values[-1]["result"]["text"] == "I will look.\n\nThere is nothing."


def test_quiet_leaves_the_answer_alone(taskctl, task):
    taskctl("open", task, "--agent", "fake")
    result = taskctl("prompt", "-q", '@think hm\n@text one\n@tool bash {"command":"true"}\n@text two')
    assert (result.out, result.err) == ("one\n\ntwo\n", "")


def test_thinking_and_cost_are_told_beside_the_answer(taskctl, task):
    taskctl("open", task, "--agent", "fake")
    result = taskctl("prompt", "@think Let me see.\n@text Seen.")
    assert result.out == "Seen.\n"
    assert result.err.startswith("Let me see.\n")
    assert result.err.endswith(" tokens\n")


def test_long_output_of_a_tool_is_cut_while_it_runs(taskctl, task):
    taskctl("open", task)
    told = taskctl("prompt", "!tool seq 1 100").err
    assert "12\n… more" in told
    assert "13" not in told
    assert "\n100\n" in taskctl("show", task).out


def test_standard_input_is_the_message(taskctl, task):
    taskctl("open", task)
    assert taskctl("prompt", stdin=b"echo piped").out == "piped\n"
    assert taskctl("prompt", "-", stdin=b"echo dash").out == "dash\n"


def test_standard_input_can_follow_what_is_said_about_it(taskctl, task):
    taskctl("open", task)
    assert taskctl("prompt", "echo first", "-", stdin=b"echo second\n").out == "first\nsecond\n"


def test_text_of_every_script_goes_there_and_back(taskctl, task):
    taskctl("open", task)
    text = "naïve 漢字 🎉 e\u0301 \u05e9\u05dc\u05d5\u05dd 👩\u200d💻 \u2028"
    assert taskctl("prompt", f"printf %s '{text}'").out == f"{text}\n"
    assert text.replace("\u2028", "\\u2028") in taskctl("prompt", "--json", f"echo '{text}'").out.replace(
        "\u2028", "\\u2028"
    )


def test_a_message_that_is_not_utf_8_is_sent_readable(taskctl, task):
    taskctl("open", task)
    assert taskctl("prompt", "echo a\udcffb").out == "a\ufffdb\n"
    assert taskctl("prompt", stdin=b"echo a\xffb").out == "a\ufffdb\n"


def test_escape_sequences_reach_a_pipe_untouched(taskctl, task):
    taskctl("open", task)
    said = "\x1b]0;title\x07\x1b[2J\x1b[31mred\rover"
    assert taskctl("prompt", r"printf '\033]0;title\007\033[2J\033[31mred\rover'").out == said + "\n"


def test_programs_get_every_event_and_then_the_result(taskctl, task):
    taskctl("open", task, "--agent", "fake")
    result = taskctl(
        "prompt", '@think hm\n@tool bash {"command":"echo x"}\n@text done', "--json", "--prompt-id", "mine"
    )
    assert result.err == ""
    assert {"agent_output", "tool_started", "tool_output", "tool_ended", "usage"} <= set(events(result))
    assert result.values[0] == {"event": "agent_output", "params": {"taskId": task, "chunk": "hm", "kind": "thinking"}}
    started = next(value["params"] for value in result.values if value.get("event") == "tool_started")
    assert started["toolCallId"]
    assert started["args"] == {"command": "echo x"}
    last = result.values[-1]["result"]
    assert (last["taskId"], last["promptId"], last["stopReason"], last["text"]) == (task, "mine", "stop", "done")


def test_the_same_prompt_id_is_one_turn_and_is_answered_twice(taskctl, task):
    taskctl("open", task)
    for _ in range(2):
        assert taskctl("prompt", "echo once >> said; cat said", "--prompt-id", f"{task}-1").out == "once\n"
    assert taskctl.json("state", task)["turnCount"] == 1


def test_prompt_with_a_task_opens_switches_resumes_and_recovers(taskctl, task):
    assert taskctl("prompt", "-t", task, "echo created").out == "created\n"
    taskctl("open", f"{task}-other")
    assert taskctl("prompt", "-t", task, "echo switched").out == "switched\n"
    taskctl("stop", task)
    assert taskctl("prompt", "-t", task, "echo resumed").out == "resumed\n"
    died = taskctl("prompt", "-t", task, "kill -9 $PPID")
    assert died.code == 1
    assert f"`taskctl open {task}` recovers it" in died.err
    assert taskctl("prompt", "-t", task, "echo recovered").out == "recovered\n"


def test_an_image_is_sent_along(taskctl, task, tmp_path):
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    (tmp_path / "dot.png").write_bytes(base64.b64decode(pixel))
    (tmp_path / "dot.txt").write_bytes(b"no image")
    taskctl("open", task, "--agent", "fake")
    assert taskctl("prompt", "-i", str(tmp_path / "dot.png"), "what is it").code == 0
    assert taskctl("prompt", "-i", str(tmp_path / "dot.txt"), "what is it").code == 2


def test_an_agent_that_dies_ends_the_output_and_the_command(taskctl, task):
    taskctl("open", task, "--agent", "fake")
    result = taskctl("prompt", "@text half an ans\n@die")
    assert (result.code, result.out) == (1, "half an ans\n")
    assert "PI_PROCESS_DEAD" in result.err
    taskctl("open", task)
    result = taskctl("prompt", "@text half\n@die", "--json")
    assert result.code == 1
    assert result.values[-1]["error"]["code"] == "PI_PROCESS_DEAD"


def test_an_error_of_the_model_is_told_and_is_a_failure(taskctl, task):
    taskctl("open", task, "--agent", "fake")
    result = taskctl("prompt", "@status 400")
    assert result.code == 1
    assert result.err.startswith("error")
    assert taskctl("prompt", "@status 400", "--json").values[-1]["result"]["stopReason"] == "error"


def test_a_turn_can_be_steered_followed_and_aborted_from_elsewhere(taskctl, task):
    taskctl("open", task, "--agent", "fake")
    with taskctl.process("prompt", "@text begun\n@hang") as process:
        assert process.stdout.read(5) == b"begun"
        assert taskctl("steer", "go on").out == f"queued for the running turn of {task}\n"
        assert taskctl("follow-up", "-t", task, "and then").out == f"queued behind the running turn of {task}\n"
        assert taskctl("abort").out == f"aborting the turn of {task}\n"
        result = finish(process)
    assert result.code == 1
    assert "aborted" in result.err
    assert taskctl("abort", task).out == f"nothing was running in {task}\n"


def test_ctrl_c_aborts_the_turn(taskctl, task):
    taskctl("open", task)
    with taskctl.process("prompt", "echo begun; exec sleep 600") as process:
        assert process.stdout.read(6) == b"begun\n"
        result = finish(process, signal.SIGINT)
    assert result.code == 130
    assert "aborting" in result.err
    assert "Traceback" not in result.err
    (turn,) = taskctl.json("show", task)["turns"]
    assert turn["stopReason"] == "aborted"


def test_ctrl_c_with_json_still_ends_in_the_result(taskctl, task):
    taskctl("open", task)
    with taskctl.process("prompt", "--json", "echo begun; exec sleep 600") as process:
        begun = process.stdout.readline()
        result = finish(process, signal.SIGINT)
    assert b"begun" in begun
    assert (result.code, result.err) == (130, "")
    assert result.values[-1]["result"]["stopReason"] == "aborted"


def test_the_second_ctrl_c_leaves_at_once(taskctl, task):
    taskctl("open", task)
    stubborn = "trap '' TERM; echo begun; sleep 600 & wait; wait"
    with taskctl.process("prompt", stubborn) as process:
        assert process.stdout.read(6) == b"begun\n"
        process.send_signal(signal.SIGINT)
        os.set_blocking(process.stderr.fileno(), True)
        told = process.stderr.read(len("\naborting"))
        result = finish(process, signal.SIGINT)
    assert b"aborting" in told
    assert result.code == 130
    assert "Traceback" not in result.err


def test_output_for_a_terminal_that_cannot_show_it_is_no_fault(taskctl, task):
    taskctl("open", task)
    ran = subprocess.run(
        [*COMMAND, "prompt", "echo 漢字"],
        env=taskctl.env(PYTHONIOENCODING="ascii"),
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, b"??\n")
