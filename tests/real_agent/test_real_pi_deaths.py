"""Agents that die, daemons that die, files that are torn: what real pi remembers then, and what is left running.

A turn that never ended leaves no trace in what the model is told; one that was aborted leaves its prompt.
"""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.kit.daemon import Daemon, Host, event_name
from tests.kit.pi_bench import bash, until
from tests.real_agent.pi_guest import PiGuest, events, said, say, task_view, turn
from tests.real_agent.processes import PRINT_PID, agent_of, tool_of

pytestmark = pytest.mark.real_agent

TORN = b'{"type":"message","id":"0badcafe","parentId":null,"timestamp":"2023-11-14T22:13:20.000Z","mess'
"""How an entry of pi's file may end after a power cut."""


def test_a_pi_killed_in_its_answer_ends_the_turn_in_task_error_and_recovers_without_it(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        host.open("a")
        error = _killed_in_an_answer(guest, daemon, host)
        assert (error["code"], error["details"]["signal"]) == ("PI_PROCESS_DEAD", signal.SIGKILL)
        assert task_view(host, "a")["state"] == "errored"
        result = host.open("a")
        assert (result["mode"], result["incarnation"], result["turnCount"]) == ("recovered", 2, 0)
        turn(host, "the first subject", "@text one")
        assert _told(guest) == {"the first subject"}

        assert _killed_in_an_answer(guest, daemon, host)["incarnation"] == 2
        began = len(host.seen)
        assert host.open("a")["turnCount"] == 1
        assert _dropped(host, began) > 0
        assert turn(host, "@text two") == "two"
        assert _told(guest) == {"the first subject"}
        assert [event["turnNumber"] for event in events(host, "agent_end")] == [1, 2]


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


def test_a_daemon_that_is_told_to_stop_in_an_answer_saves_what_was_said(guest: PiGuest) -> None:
    daemon = guest.daemon()
    with daemon, daemon.connect() as host:
        host.open("a")
        say(host, "the first subject", "@text half", "@hang")
        said(host, "half")
        assert daemon.stop() == 0
        assert host.event("agent_end")["stopReason"] == "aborted"
        assert guest.last_request().wait_ended() == "client_left"
    with daemon, daemon.connect() as host:
        session = host.call("get_session", taskId="a")
        assert session["turns"][0]["stopReason"] == "aborted"
        assert session["turns"][0]["messages"][-1]["content"] == [{"type": "text", "text": "half"}]
        host.open("a")
        turn(host, "@text two")

        assert _told(guest) == {"the first subject"}


def test_what_a_tool_left_behind_in_a_session_of_its_own_goes_with_the_task(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        host.open("a")
        say(host, bash("setsid sleep 1000 >/dev/null 2>&1 & echo $!"))
        with tool_of(host) as left:
            host.event("agent_end")
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


def test_a_native_file_is_put_back_to_the_last_turn_whether_it_is_torn_or_cut_in_a_line(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        _two_turns(host)
        whole = guest.native("a").read_bytes()
        guest.native("a").write_bytes(whole + TORN)
        began = len(host.seen)
        assert host.open("a")["turnCount"] == 2
        assert _dropped(host, began) == len(TORN)
        host.call("stop_task", taskId="a")

        guest.native("a").write_bytes(whole[:-40])
        began = len(host.seen)
        assert host.open("a")["turnCount"] == 2
        assert _dropped(host, began) == 0
        turn(host, "@text three")
        assert guest.native("a").read_bytes().startswith(whole)
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


def _killed_in_an_answer(guest: PiGuest, daemon: Daemon, host: Host) -> dict[str, Any]:
    """Prompt, and kill pi when half of the answer has come; gives the `task_error`."""
    say(host, "the lost subject", "@text half", "@hang")
    said(host, "half")
    with agent_of(daemon, guest.work("a")) as pi:
        pi.kill()
        return host.event("task_error", "a")


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
    return dict(ready)


def _dropped(host: Host, began: int) -> int:
    """How many bytes of pi's file that open left behind."""
    dropped = _bootstrap(host, began).get("dropped") or {}
    return int(dropped.get("nativeBytes", 0))
