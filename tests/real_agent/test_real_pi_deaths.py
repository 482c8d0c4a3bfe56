"""Agents that die, daemons that die, files that are torn: what a real pi remembers afterwards, and what is left running.

A turn that never ended leaves no trace in what the model is told; one that was aborted leaves its prompt.
"""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.kit.daemon import Host, event_name
from tests.kit.pi_bench import bash, until
from tests.real_agent.pi_guest import PiGuest, events, said, say, task_view, turn
from tests.real_agent.processes import PRINT_PID, Held, agent_of, tool_of

pytestmark = pytest.mark.real_agent

TORN = b'{"type":"message","id":"0badcafe","parentId":null,"timestamp":"2023-11-14T22:13:20.000Z","mess'
"""How an entry of pi's file may end after a power cut."""


def test_a_pi_killed_in_its_answer_ends_the_turn_in_task_error_and_recovers_without_it(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        host.open("a")
        turn(host, "the first subject", "@text one")
        say(host, "the lost subject", "@text half", "@hang")
        said(host, "half")
        with agent_of(daemon, guest.work("a")) as pi:
            pi.kill()
            error = host.event("task_error", "a")
        began = len(host.seen)

        assert (error["code"], error["details"]["signal"]) == ("PI_PROCESS_DEAD", signal.SIGKILL)
        assert task_view(host, "a")["state"] == "errored"
        result = host.open("a")
        assert (result["mode"], result["incarnation"], result["turnCount"]) == ("recovered", 2, 1)
        assert _dropped(host, began) > 0
        assert turn(host, "@text two") == "two"
        assert _told(guest) == {"the first subject"}
        assert len(events(host, "agent_end")) == 2


def test_a_pi_killed_in_a_tool_leaves_no_tool_running_and_recovers(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        host.open("a")
        turn(host, "the first subject", "@text one")
        say(host, "the lost subject", bash(PRINT_PID, until("never")))
        with tool_of(host) as tool, agent_of(daemon, guest.work("a")) as pi:
            pi.kill()
            host.event("task_error", "a")
            assert tool.is_gone()
        began = len(host.seen)

        assert host.open("a")["mode"] == "recovered"
        assert _dropped(host, began) > 0
        assert turn(host, "@text two") == "two"
        assert _told(guest) == {"the first subject"}


def test_a_stop_in_a_tool_leaves_no_tool_running_and_saves_the_aborted_turn(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        host.open("a")
        say(host, "the first subject", bash(PRINT_PID, until("never")))
        with tool_of(host) as tool, agent_of(daemon, guest.work("a")) as pi:
            assert host.call("stop_task", taskId="a")["state"] == "stopped"
            assert tool.is_gone()
            assert pi.is_gone()
        end = host.event("agent_end", "a")
        host.event("task_stopped", "a")

        assert (end["stopReason"], end["turnNumber"]) == ("aborted", 1)
        assert host.open("a")["mode"] == "resumed"
        assert turn(host, "@text two") == "two"
        assert _told(guest) == {"the first subject"}


def test_a_stop_in_an_answer_saves_what_was_said(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        host.open("a")
        say(host, "the first subject", "@text half", "@hang")
        said(host, "half")
        host.call("stop_task", taskId="a")

        session = host.call("get_session", taskId="a")
        assert session["turns"][0]["stopReason"] == "aborted"
        assert session["turns"][0]["messages"][-1]["content"] == [{"type": "text", "text": "half"}]
        assert guest.last_request().wait_ended() == "client_left"


def test_what_a_tool_left_behind_in_a_session_of_its_own_goes_with_the_task(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        host.open("a")
        turn(host, bash("setsid sh -c 'echo $$ > left.pid; exec sleep 1000' >/dev/null 2>&1 &", until("left.pid")))
        with Held(int((guest.work("a") / "left.pid").read_text())) as left:
            assert not left.is_gone(within=0)
            host.call("stop_task", taskId="a")
            assert left.is_gone()


def test_a_restarted_daemon_tells_the_model_the_history(guest: PiGuest) -> None:
    daemon = guest.daemon()
    with daemon, daemon.connect() as host:
        host.open("a")
        turn(host, "the first subject", bash("echo printed"), "@text answered")
    with daemon, daemon.connect() as host:
        assert task_view(host, "a")["state"] == "stopped"
        assert host.open("a")["mode"] == "resumed"
        assert _bootstrap(host, 0).get("dropped") is None
        turn(host, "the second subject", "@text two")

        roles = [message["role"] for message in guest.last_request().messages]
        assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
        assert _told(guest) == {"the first subject", "the second subject"}
        assert "printed" in guest.last_request().text
        assert "answered" in guest.last_request().text


def test_a_daemon_that_was_killed_between_turns_has_lost_nothing(guest: PiGuest) -> None:
    daemon = guest.daemon()
    with daemon, daemon.connect() as host:
        host.open("a")
        turn(host, "the first subject", "@text one")
        with agent_of(daemon, guest.work("a")) as pi:
            daemon.stop(signal.SIGKILL)
            assert pi.is_gone()
    with daemon, daemon.connect() as host:
        assert host.open("a")["turnCount"] == 1
        turn(host, "@text two")

        assert _told(guest) == {"the first subject"}


def test_a_daemon_that_was_killed_in_a_turn_resumes_after_the_turn_before(guest: PiGuest) -> None:
    daemon = guest.daemon()
    with daemon, daemon.connect() as host:
        host.open("a")
        turn(host, "the first subject", "@text one")
        say(host, "the lost subject", "@text half", "@hang")
        said(host, "half")
        with agent_of(daemon, guest.work("a")) as pi:
            daemon.stop(signal.SIGKILL)
            assert pi.is_gone()
    with daemon, daemon.connect() as host:
        assert host.open("a")["turnCount"] == 1
        turn(host, "@text two")

        assert _told(guest) == {"the first subject"}


def test_a_torn_entry_behind_the_last_turn_is_cut_and_said(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        _two_turns(host)
        with guest.native("a").open("ab") as native:
            native.write(TORN)
        began = len(host.seen)
        assert host.open("a")["turnCount"] == 2

        assert _dropped(host, began) == len(TORN)
        turn(host, "@text three")
        assert _told(guest) == {"the first subject", "the second subject"}


def test_a_native_file_that_was_cut_in_a_line_is_whole_again(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        _two_turns(host)
        whole = guest.native("a").read_bytes()
        guest.native("a").write_bytes(whole[:-40])
        began = len(host.seen)
        assert host.open("a")["turnCount"] == 2

        assert _dropped(host, began) == 0
        assert guest.native("a").read_bytes().startswith(whole)
        turn(host, "@text three")
        assert _told(guest) == {"the first subject", "the second subject"}


def test_a_session_that_was_cut_falls_back_to_the_turn_before_and_says_so(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        _two_turns(host)
        session = guest.native("a").parents[1] / "session.json"
        session.write_bytes(session.read_bytes()[:-40])
        began = len(host.seen)
        assert host.open("a")["turnCount"] == 1

        assert _bootstrap(host, began)["dropped"]["generation"] == "previous"
        assert _dropped(host, began) > 0
        turn(host, "@text again")
        assert _told(guest) == {"the first subject"}


def _two_turns(host: Host) -> None:
    """Two turns, and the task stopped after them."""
    host.open("a")
    turn(host, "the first subject", "@text one")
    turn(host, "the second subject", "@text two")
    host.call("stop_task", taskId="a")


def _told(guest: PiGuest) -> set[str]:
    """The subjects that are in the model's last request."""
    subjects = ("the first subject", "the second subject", "the lost subject")
    return {subject for subject in subjects if subject in guest.last_request().text}


def _bootstrap(host: Host, began: int) -> dict[str, Any]:
    """The event of the open whose lines begin there: the task is ready."""
    lines = [line["params"] for line in host.seen[began:] if event_name(line) == "task_bootstrap_state"]
    (ready,) = (params for params in lines if params["status"] == "ready")
    return ready


def _dropped(host: Host, began: int) -> int:
    """How many bytes of pi's file that open left behind."""
    dropped = _bootstrap(host, began).get("dropped") or {}
    return int(dropped.get("nativeBytes", 0))
