"""Several tasks with a real pi each: no memory passes between them, and each works on while another is looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kit.daemon import Host, Refused
from tests.kit.pi_bench import OLD_DIALECT, bash
from tests.real_agent.pi_guest import PiGuest, events, said, say, task_view, turn

pytestmark = pytest.mark.real_agent

FACT = "the password is heliotrope"


def test_a_fact_told_to_one_task_is_unknown_to_the_other(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        for task in ("a", "b"):
            host.open(task)
        _switch(host, "a")
        turn(host, FACT, bash("echo heliotrope > note.txt"), "@text noted")
        _switch(host, "b")
        turn(host, "what is it?", bash("ls"), "@text unknown")
        asked_b = guest.last_request()
        _switch(host, "a")
        turn(host, "what is it?", "@text known")

        assert "heliotrope" in guest.last_request().text
        assert "heliotrope" not in asked_b.text
        assert "note.txt" not in asked_b.text
        assert "heliotrope" not in json.dumps(host.call("get_session", taskId="b")["turns"])
        assert (guest.work("a") / "note.txt").exists()
        assert not (guest.work("b") / "note.txt").exists()


def test_a_task_streams_on_while_another_one_is_active_and_then_stopped(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        for task in ("b", "a"):
            host.open(task)
        say(host, "@text a1", "@gate on", "@text a2")
        said(host, "a1", "a")
        _switch(host, "b")
        say(host, "@text b1")
        assert host.event("agent_end")["taskId"] == "b"
        assert task_view(host, "a")["state"] == "idle"
        assert task_view(host, "a")["promptInFlight"] is True
        host.call("stop_task", taskId="b")
        guest.model.gate("on").open()
        end = host.event("agent_end")
        assert (end["taskId"], end["stopReason"]) == ("a", "stop")

        heard = [(event["taskId"], event["chunk"]) for event in events(host, "agent_output")]
        assert heard == [("a", "a1"), ("b", "b1"), ("a", "a2")]
        assert {task: task_view(host, task)["turnCount"] for task in ("a", "b")} == {"a": 1, "b": 1}


def test_a_task_works_in_the_folder_that_its_host_names_and_moves_with_its_memory(guest: PiGuest) -> None:
    root = guest.root / "workspace"
    for folder in ("one", "two/deep"):
        (root / folder).mkdir(parents=True)
    with guest.daemon(settings=f"workspace_root = {json.dumps(str(root))}") as daemon, daemon.connect() as host:
        host.open("a", workingFolderRelative="one")
        turn(host, FACT, _write("made.txt"), bash("pwd"), "@text done")
        assert (root / "one" / "made.txt").read_text() == "made"
        assert task_view(host, "a")["currentCwd"] == str(root / "one")
        host.call("stop_task", taskId="a")
        host.open("a", workingFolderRelative="two/deep")
        turn(host, _write("made.txt"), "@text done")

        assert (root / "two" / "deep" / "made.txt").read_text() == "made"
        assert FACT in guest.last_request().text
        assert _no_files(guest.work("a"))


def test_pi_gets_its_secrets_from_a_private_file_and_nobody_else_does(guest: PiGuest) -> None:
    secret = "sk-0123456789abcdef"
    check = 'test "$MODEL_KEY" = "$(printf %s sk-; printf %s 0123456789abcdef)"'
    daemon = guest.daemon(secrets={"MODEL_KEY": secret})
    # The old dialect takes the bare name of a variable, the new one wants a dollar sign.
    guest.change_provider(apiKey="MODEL_KEY" if guest.pi.name == OLD_DIALECT else "$MODEL_KEY")
    guest.secrets.chmod(0o644)
    with daemon, daemon.connect() as host:
        with pytest.raises(Refused, match="TASK_BOOTSTRAP_FAILED"):
            host.call("create_or_open_task", taskId="a")
        guest.secrets.chmod(0o600)
        assert host.open("a")["mode"] == "recovered"
        turn(host, bash(check, "echo same=$?"), "@text ok")
        assert "same=0" in guest.last_request().text
        told = json.dumps([host.call("diag"), host.call("get_state")])

    kept = [path for path in daemon.state.rglob("*") if path.is_file()]
    assert secret not in told
    assert secret not in daemon.log.read_text()
    assert [path for path in kept if secret.encode() in path.read_bytes()] == []


def _switch(host: Host, task: str) -> None:
    host.call("switch_task", taskId=task)
    host.event("task_ready", task)


def _write(name: str) -> str:
    return f"@tool write {json.dumps({'path': name, 'content': 'made'})}"


def _no_files(folder: Path) -> bool:
    return list(folder.iterdir()) == []
