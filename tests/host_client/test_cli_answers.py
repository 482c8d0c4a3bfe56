"""`taskctl answer` in all its forms, and questions that are asked while a prompt is followed."""

import contextlib

import pytest

from tests.host_client.cli_fixtures import daemon, task, taskctl
from tests.host_client.taskctl import finish

__all__ = ["daemon", "task", "taskctl"]


@pytest.fixture
def asking(taskctl, task):
    """Have a task ask something, as long as the block lasts; gives the request's id and the command that waits."""

    @contextlib.contextmanager
    def ask(message):
        taskctl("open", task)
        with taskctl.process("prompt", message) as process:
            told = process.stderr.readline().decode()
            assert told.startswith("? ")
            try:
                yield told.rpartition("answer ")[2].strip(")\n"), process
            finally:
                taskctl("abort", task)
                finish(process)

    return ask


def test_open_questions_are_listed(taskctl, task, asking):
    assert taskctl("answer").out == "no agent asks anything\n"
    with asking("/ask Which [bold]colour[/]? | red | green") as (request, _):
        listed = taskctl("answer").out
        assert f"{request}  {task}  Which [bold]colour[/]? [red | green]" in listed
        (question,) = taskctl.json("answer")
        assert (question["requestId"], question["taskId"], question["options"]) == (request, task, ["red", "green"])
        assert "asks: Which" in taskctl("state").out


@pytest.mark.parametrize(
    ("message", "flags", "said"),
    [
        ("/ask Colour? | red | green", ["--value", "red"], "red\n"),
        ("/confirm Really?", ["--yes"], "yes\n"),
        ("/confirm Really?", ["--no"], "no\n"),
        ("/input Your name", ["--value", "Ada"], "Ada\n"),
    ],
)
def test_a_question_is_answered(taskctl, task, asking, message, flags, said):
    with asking(message) as (request, process):
        assert taskctl("answer", request, *flags).out == f"answered {request} of {task}\n"
        assert finish(process).out == said


def test_a_question_is_answered_by_the_beginning_of_its_id(taskctl, asking):
    with asking("/ask Colour? | red | green") as (request, process):
        assert taskctl("answer", request[:4], "--value", "green").code == 0
        assert finish(process).out == "green\n"


def test_the_only_open_question_needs_no_id(taskctl, asking):
    with asking("/ask Colour? | red | green") as (_, process):
        assert taskctl.json("answer", "--value", "green")["answered"] is True
        assert finish(process).out == "green\n"


def test_a_question_is_told_to_those_who_want_it_quiet_too(taskctl, task):
    taskctl("open", task)
    with taskctl.process("prompt", "-q", "/ask Colour? | red | green") as process:
        assert b"Colour?" in process.stderr.readline()
        taskctl("answer", "--value", "red")
        assert finish(process).out == "red\n"


def test_a_question_can_be_refused(taskctl, asking):
    with asking("/ask Colour? | red | green") as (request, process):
        assert taskctl("answer", request, "--cancel").code == 0
        assert "red" not in finish(process).out


def test_an_answer_that_is_no_option_is_refused_and_leaves_the_question_open(taskctl, asking):
    with asking("/ask Colour? | red | green") as (request, _):
        refused = taskctl("answer", request, "--value", "blue")
        assert refused.code == 1
        assert "red" in refused.err
        assert len(taskctl.json("answer")) == 1


def test_a_question_that_is_not_open_is_not_found(taskctl):
    assert "taskctl answer" in taskctl("answer", "nothing", "--yes").err
    assert taskctl("answer", "nothing", "--yes", "--json").value["error"]["code"] == "QUESTION_NOT_FOUND"
    assert taskctl("answer", "--yes").code == 1


def test_without_a_person_an_answer_must_be_given(taskctl, asking):
    with asking("/ask Colour? | red | green") as (request, _):
        assert taskctl("answer", request).code == 2
