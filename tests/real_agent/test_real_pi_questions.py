"""Questions that an extension of real pi asks: told to the host, answered by it, and taken up by pi."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.daemon import Host, Refused
from tests.kit.pi_bench import bash
from tests.real_agent.pi_guest import ASKS, PiGuest, events, say, task_view, turn
from tests.real_agent.processes import agent_of

pytestmark = pytest.mark.real_agent


def test_the_dialogs_of_a_command_are_answered_one_by_one_and_the_turn_ends_without_a_run(guest: PiGuest) -> None:
    with guest.daemon(extensions=[ASKS]) as daemon, daemon.connect() as host:
        host.open("a")
        say(host, "/ask")
        select = _answer(host, value="green")
        confirm = _answer(host, confirmed=True)
        _answer(host, cancelled=True)
        end = host.event("agent_end")

        assert (select["kind"], select["title"], select["options"]) == ("select", "Pick one", ["red", "green"])
        assert (confirm["kind"], confirm["title"], confirm["message"]) == ("confirm", "Sure?", "It is for ever")
        assert (end["stopReason"], end["error"]) == ("stop", "")
        assert guest.model.requests == []
        assert turn(host, "@text next") == "next"


def test_a_guarded_tool_runs_when_the_host_says_yes_and_not_before(guest: PiGuest) -> None:
    guarded = bash(": guarded", "echo ran | tee -a ran.txt")
    with guest.daemon(extensions=[ASKS]) as daemon, daemon.connect() as host:
        host.open("a")
        say(host, guarded, guarded, "@text done")
        _answer(host, confirmed=False)
        host.event("tool_ended")
        assert not (guest.work("a") / "ran.txt").exists()
        _answer(host, confirmed=True)
        host.event("agent_end")

        assert (guest.work("a") / "ran.txt").read_text() == "ran\n"
        assert [event["isError"] for event in events(host, "tool_ended")] == [True, False]
        assert "The user said no" in guest.last_request().text
        assert [event["outcome"] for event in events(host, "agent_question_closed")] == ["answered", "answered"]


def test_an_open_question_can_be_found_later_and_an_abort_ends_the_turn_all_the_same(guest: PiGuest) -> None:
    """pi does not hear an abort while it asks."""
    with guest.daemon(extensions=[ASKS]) as daemon, daemon.connect() as host:
        host.open("a")
        say(host, bash(": guarded", "echo ran"))
        asked = host.event("agent_question")
        assert [question["requestId"] for question in task_view(host, "a")["questions"]] == [asked["requestId"]]
        host.call("abort")
        assert host.event("agent_end")["stopReason"] == "aborted"

        assert [event["outcome"] for event in events(host, "agent_question_closed")] == ["cancelled"]
        assert task_view(host, "a")["questions"] == []
        assert turn(host, "@text next") == "next"


def test_a_question_is_gone_with_the_pi_that_asked_it(guest: PiGuest) -> None:
    with guest.daemon(extensions=[ASKS]) as daemon, daemon.connect() as host:
        host.open("a")
        say(host, bash(": guarded", "echo ran"))
        asked = host.event("agent_question")
        with agent_of(daemon, guest.work("a")) as pi:
            pi.kill()
            host.event("task_error", "a")

        assert [event["outcome"] for event in events(host, "agent_question_closed")] == ["gone"]
        with pytest.raises(Refused, match="QUESTION_NOT_FOUND"):
            host.call("answer", requestId=asked["requestId"], confirmed=True)


def test_a_task_that_waits_for_an_answer_is_stopped_in_order(guest: PiGuest) -> None:
    with guest.daemon(extensions=[ASKS]) as daemon, daemon.connect() as host:
        host.open("a")
        say(host, bash(": guarded", "echo ran"))
        host.event("agent_question")
        host.call("stop_task", taskId="a")

        assert host.event("agent_end", "a")["stopReason"] == "aborted"


def _answer(host: Host, **answer: Any) -> dict[str, Any]:
    """Wait for the next question and answer it; gives the question."""
    asked = host.event("agent_question")
    host.call("answer", requestId=asked["requestId"], **answer)
    return asked
