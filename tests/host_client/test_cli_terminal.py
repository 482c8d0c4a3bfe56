"""`taskctl` with a person at a terminal: questions, ctrl-C, widths, colours, and what an agent cannot do to it."""

import re
import sys

import pytest

from tests.host_client.cli_fixtures import daemon, task, taskctl
from tests.host_client.taskctl import COMMAND, Terminal
from tests.kit.daemon import Daemon

__all__ = ["daemon", "task", "taskctl"]

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def plain(text):
    return COLOUR.sub("", text)


def test_a_person_is_asked_and_answers_with_a_number(taskctl, task):
    taskctl("open", task)
    with taskctl.terminal("prompt", "/ask Which colour? | red | green") as terminal:
        terminal.expect("1-2: ")
        terminal.type("7\n")
        terminal.expect("7\r\n  1-2: ")
        terminal.type("2\n")
        code, seen = terminal.end()
    assert code == 0
    assert plain(seen) == "? Which colour?\n  1  red\n  2  green\n  1-2: 7\n  1-2: 2\ngreen\n"


@pytest.mark.parametrize(
    ("message", "invitation", "typed", "said"),
    [
        ("/ask Colour? | red | green", "1-2: ", "red", "red"),
        ("/confirm Really?", "yes or no: ", "maybe\ny", "yes"),
        ("/confirm Really?", "yes or no: ", "No", "no"),
        ("/input Your name", "> ", "Ada Löve", "Ada Löve"),
    ],
)
def test_a_person_answers_in_words(taskctl, task, message, invitation, typed, said):
    taskctl("open", task)
    with taskctl.terminal("prompt", message) as terminal:
        terminal.expect(invitation)
        terminal.type(f"{typed}\n")
        code, seen = terminal.end()
    assert code == 0
    assert seen.endswith(f"{said}\n")


def test_what_was_typed_before_a_question_does_not_answer_it(taskctl, task):
    taskctl("open", task, "--agent", "fake")
    gate = f"@text begun\n@gate {taskctl.daemon.folder}/gate\n@confirm " + '{"title":"Really?"}\n@text answered'
    with taskctl.terminal("prompt", gate) as terminal:
        terminal.expect("begun")
        terminal.type("y\n")
        terminal.expect("y\r\n")
        (taskctl.daemon.folder / "gate").touch()
        terminal.expect("yes or no: ")
        terminal.type("n\n")
        code, seen = terminal.end()
    assert code == 0
    assert plain(seen).endswith("yes or no: n\nanswered\n15 tokens\n")


def test_a_question_that_is_answered_elsewhere_is_taken_back(taskctl, task):
    taskctl("open", task)
    with taskctl.terminal("prompt", "/ask Colour? | red | green") as terminal:
        terminal.expect("1-2: ")
        taskctl("answer", "--value", "green")
        code, seen = terminal.end()
    assert code == 0
    assert plain(seen).endswith("answered elsewhere\ngreen\n")


def test_ctrl_d_leaves_a_question_open(taskctl, task):
    taskctl("open", task)
    with taskctl.terminal("prompt", "/ask Colour? | red | green") as terminal:
        terminal.expect("1-2: ")
        terminal.type("\x04")
        terminal.expect("left open")
        assert taskctl("answer", "--value", "red").code == 0
        code, seen = terminal.end()
    assert code == 0
    assert seen.endswith("red\n")


def test_ctrl_c_at_a_question_aborts_the_turn(taskctl, task):
    taskctl("open", task)
    with taskctl.terminal("prompt", "/ask Colour? | red | green") as terminal:
        terminal.expect("1-2: ")
        terminal.type("\x03")
        code, seen = terminal.end()
    assert code == 130
    assert "aborting" in seen
    assert "Traceback" not in seen


def test_an_open_question_is_asked_by_answer(taskctl, task):
    taskctl("open", task)
    with taskctl.process("prompt", "/ask Colour? | red | green") as process:
        request = process.stderr.readline().decode().rpartition("answer ")[2].strip(")\n")
        with taskctl.terminal("answer", request) as terminal:
            terminal.expect("1-2: ")
            terminal.type("1\n")
            assert terminal.end()[0] == 0
        assert process.stdout.read() == b"red\n"


def test_a_prompt_in_the_background_asks_nobody_and_is_not_stopped(taskctl, task):
    taskctl("open", task)
    job = f"set -m; {sys.executable} -m host_client prompt '/ask Colour? | red | green' & wait"
    with Terminal(["/bin/bash", "-c", job], taskctl.env(TERM="xterm")) as terminal:
        terminal.expect("(taskctl answer ")
        terminal.type("1\n")
        assert taskctl("answer", "--value", "red").code == 0
        code, seen = terminal.end()
    assert code == 0
    assert "red\n" in seen


def test_an_agent_s_escape_sequences_do_nothing_to_a_terminal(taskctl, task):
    taskctl("open", task)
    tricks = r"printf '\033]0;title\007one \033[31mred\033[0m \033[2J\033[1;1Htwo\rthree\010\007\033[44mfour'"
    with taskctl.terminal("prompt", tricks) as terminal:
        code, seen = terminal.end()
    assert code == 0
    assert seen == "one \x1b[31mred\x1b[0m two\nthree␈␇\x1b[44mfour\x1b[0m\n"
    with taskctl.terminal("show", task) as terminal:
        shown = terminal.end()[1]
    assert "\x1b]0;" not in shown.replace("> printf", "")
    assert "one \x1b[31mred\x1b[0m two" in shown


def test_an_agent_s_question_is_plain_text(taskctl, task):
    taskctl("open", task)
    with taskctl.terminal("prompt", "/ask Safe?\x1b[8m rm -rf\x1b[2J | yes\x1b[1A\r | no") as terminal:
        terminal.expect("1-2: ")
        terminal.type("2\n")
        code, seen = terminal.end()
    assert code == 0
    assert plain(seen).startswith("? Safe? rm -rf\n  1  yes\n  2  no\n")
    assert "\x1b[8m" not in seen


def test_tools_thinking_and_the_answer_each_begin_a_line(taskctl, task):
    taskctl("open", task, "--agent", "fake")
    message = '@think Hm.\n@text I look.\n@tool bash {"command":"printf x"}\n@text Done'
    with taskctl.terminal("prompt", message) as terminal:
        code, seen = terminal.end()
    assert code == 0
    assert plain(seen) == "Hm.\nI look.\n⚙ bash printf x\nx\nDone\n30 tokens\n"


@pytest.mark.parametrize("columns", [80, 120])
def test_a_table_fits_its_terminal(taskctl, task, columns):
    taskctl("open", "x" * 90, "--no-switch")
    taskctl("open", f"{task}-bad", "--agent", "broken")
    with taskctl.terminal("state", columns=columns) as terminal:
        code, seen = terminal.end()
    lines = plain(seen).split("\n")
    assert code == 0
    assert all(len(line) <= columns for line in lines)
    assert any("errored" in line and line.endswith("…") for line in lines)
    assert "… is cut: `taskctl state TASK` tells all about one" in lines
    with taskctl.terminal("state", f"{task}-bad", columns=columns) as terminal:
        told = plain(terminal.end()[1])
    assert all(len(line) <= columns for line in told.split("\n"))
    assert "a long story of many words" in " ".join(told.split())


def test_colours_are_for_terminals_that_want_them(taskctl, task):
    taskctl("open", task)
    with taskctl.terminal("state") as terminal:
        assert "\x1b[1;32mactive" in terminal.end()[1]
    with taskctl.terminal("state", NO_COLOR="1") as terminal:
        assert "\x1b" not in terminal.end()[1]
    with taskctl.terminal("prompt", r"printf '\033[31mred'", NO_COLOR="1") as terminal:
        assert terminal.end()[1] == "red\n"
    assert "\x1b" not in taskctl("state").out


def test_a_prompt_without_words_is_wrong_usage_at_a_terminal(taskctl):
    with taskctl.terminal("prompt") as terminal:
        code, seen = terminal.end()
    assert code == 2
    assert "give a MESSAGE" in seen


def test_stopping_the_daemon_wants_a_yes(tmp_path):
    with Daemon(tmp_path) as guest:
        env = {"TERM": "xterm", "TASKD_ADDRESS": f"unix:{guest.socket}"}
        with Terminal([*COMMAND, "shutdown"], env) as terminal:
            terminal.expect("(yes or no) ")
            terminal.type("no\n")
            assert terminal.end()[0] == 1
        with Terminal([*COMMAND, "shutdown"], env) as terminal:
            terminal.expect("(yes or no) ")
            terminal.type("yes\n")
            code, seen = terminal.end()
        assert code == 0
        assert seen.endswith("the daemon is stopping\n")
        assert guest.process.wait(20) == 0
