"""Shell completion, as the shells ask for it."""

import subprocess
import sys

import pytest

from host_client.cli import completion
from tests.host_client.cli_fixtures import daemon, task, taskctl
from tests.host_client.taskctl import in_process

__all__ = ["daemon", "task", "taskctl"]


@pytest.fixture
def complete(taskctl, monkeypatch, capfd):
    """Complete the last word of a line, as bash does; gives the offers."""

    def complete(line, address=taskctl.address, shell="bash"):
        monkeypatch.setenv("TASKD_ADDRESS", address)
        monkeypatch.setenv("_TASKCTL_COMPLETE", f"{shell}_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        capfd.readouterr()
        with pytest.raises(SystemExit):
            in_process_output()
        monkeypatch.delenv("_TASKCTL_COMPLETE")
        offered = capfd.readouterr().out
        return [word.partition(",")[2] for word in offered.split("\n") if word]

    def in_process_output():
        from host_client.cli.app import taskctl as group

        group.main([], prog_name="taskctl")

    return complete


def test_commands_are_completed(complete):
    assert complete("taskctl st") == ["state", "stop", "steer"]
    assert complete("taskctl follow") == ["follow-up"]


def test_options_are_completed(complete):
    assert "--prompt-id" in complete("taskctl prompt --pr")
    assert "--address" in complete("taskctl --a")


def test_names_of_tasks_are_completed(complete, taskctl, task):
    taskctl("open", f"{task}-1")
    taskctl("open", f"{task}-2")
    offers = [f"{task}-1", f"{task}-2"]
    for line in ("switch", "stop", "show", "state", "open", "models", "abort", "prompt -t", "tail --task"):
        assert complete(f"taskctl {line} {task}") == offers, line
    assert complete(f"taskctl stop {task}-1 {task}-2") == [f"{task}-2"]


def test_an_address_on_the_line_is_asked(complete, taskctl, task):
    taskctl("open", task)
    nowhere = "unix:/nowhere/taskd.sock"
    assert complete(f"taskctl switch --address {taskctl.address} {task}", nowhere) == [task]
    assert complete(f"taskctl -a {taskctl.address} switch {task}", nowhere) == [task]


def test_ids_of_questions_are_completed(complete, taskctl, task):
    taskctl("open", task)
    with taskctl.process("prompt", "/ask Colour? | red | green") as process:
        request = process.stderr.readline().decode().rpartition("answer ")[2].strip(")\n")
        assert complete(f"taskctl answer {request[:2]}") == [request]
        taskctl("answer", request, "--value", "red")
        process.wait(20)


def test_names_of_agents_are_completed(complete):
    assert complete("taskctl open x --agent ") == ["shell", "fake", "broken"]


def test_a_guest_in_another_place_is_asked_with_the_client(complete, taskctl, task):
    taskctl("open", task)
    relay = f"exec:{sys.executable} -c 'import socket' "
    assert complete(f"taskctl switch {task}", relay) == []
    assert completion._ask(completion.Guest(taskctl.address, dialect="p0"), "get_state")["tasks"]


def test_without_a_guest_nothing_is_completed_and_nothing_is_said(complete):
    assert complete("taskctl switch x", "unix:/nowhere/taskd.sock") == []
    assert complete("taskctl switch x", "no address") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(shell):
    script = in_process("completion", shell)
    assert script.code == 0
    assert "_TASKCTL_COMPLETE" in script.out


def test_the_script_works_in_bash(taskctl, task, tmp_path):
    taskctl("open", task)
    program = tmp_path / "taskctl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m host_client "$@"\n')
    program.chmod(0o755)
    script = (
        f"{in_process('completion', 'bash').out}\n"
        f"COMP_WORDS=(taskctl switch {task[:-2]}); COMP_CWORD=2\n"
        '_taskctl_completion taskctl; echo "${COMPREPLY[@]}"'
    )
    env = taskctl.env()
    ran = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        env=env | {"PATH": f"{tmp_path}:{env['PATH']}"},
        timeout=20,
        check=False,
    )
    assert ran.stdout.decode().split() == [task], ran
