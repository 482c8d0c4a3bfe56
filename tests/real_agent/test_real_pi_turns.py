"""Turns of real pi, as a host sees them through the daemon."""

from __future__ import annotations

import json

import pytest

from tests.kit.daemon import Host, Refused
from tests.kit.pi_bench import OLD_DIALECT, bash, until
from tests.real_agent.pi_guest import QUICK_RETRY, PiGuest, events, roles, said, say, task_view, turn

pytestmark = pytest.mark.real_agent

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""One pixel, in base64."""


def test_text_streams_while_the_model_still_speaks_and_every_character_arrives(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        assert host.open("a")["mode"] == "created"
        began = len(host.seen)
        say(host, '@text "hello "', "@gate one", '@text "wor\\u2028ld"')
        said(host, "hello ")
        assert task_view(host, "a")["promptInFlight"] is True
        assert events(host, "agent_end") == []
        guest.model.gate("one").open()
        end = host.event("agent_end")

        names = [name for name in host.names()[began:] if name != "answer"]
        assert names == ["turn_started", "agent_output", "agent_output", "usage", "agent_end"]
        assert (end["stopReason"], end["turnNumber"], end["error"]) == ("stop", 1, "")
        session = host.call("get_session", taskId="a")
        assert roles(session, 1) == ["user", "assistant"]
        assert session["turns"][0]["messages"][1]["content"] == [{"type": "text", "text": "hello wor\u2028ld"}]


def test_usage_and_money_are_the_models_own_figures(guest: PiGuest) -> None:
    with guest.daemon(pi_models={"cost": _prices(input=1, output=2)}) as daemon, daemon.connect() as host:
        host.open("a")
        say(host, "@usage 11 7", bash("true"), "@usage 100 20", "@text done")
        usage = host.event("agent_end")["usage"]

        assert {name: usage[name] for name in ("input", "output", "cacheRead", "cacheWrite", "totalTokens")} == {
            "input": 111,
            "output": 27,
            "cacheRead": 0,
            "cacheWrite": 0,
            "totalTokens": 138,
        }
        assert usage["cost"] == pytest.approx(111e-6 + 2 * 27e-6)
        assert [event["usage"]["input"] for event in events(host, "usage")] == [11, 100]
        assert task_view(host, "a")["usage"] == usage


def test_a_tool_runs_in_the_tasks_folder_and_what_it_prints_is_told_once(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        host.open("a")
        say(host, bash("echo one", until("go"), "echo two | tee made.txt", "exit 3"), "@text done")
        assert host.event("tool_started")["tool"] == "bash"
        assert host.event("tool_output")["chunk"] == "one\n"
        (guest.work("a") / "go").touch()
        ended = host.event("tool_ended")
        host.event("agent_end")

        assert (ended["tool"], ended["isError"]) == ("bash", True)
        printed = "".join(event["chunk"] for event in events(host, "tool_output"))
        assert printed.startswith("one\ntwo\n")
        assert printed.count("two") == 1
        assert (guest.work("a") / "made.txt").read_text() == "two\n"
        session = host.call("get_session", taskId="a")
        assert roles(session, 1) == ["user", "assistant", "tool", "assistant"]
        assert "two" in guest.last_request().text


def test_a_tool_that_prints_more_than_pi_keeps_is_told_as_far_as_pi_shows_it(guest: PiGuest) -> None:
    """pi shows a window of 50 KB that slides over the output, again and again; hosts are told what is new in it."""
    with guest.daemon() as daemon, daemon.connect() as host:
        host.open("a")
        turn(host, bash("seq 100000 120000"), "@text done")
        text = ""
        for event in events(host, "tool_output"):
            text = event["chunk"] if event.get("reset") else text + event["chunk"]

        result = host.call("get_session", taskId="a")["turns"][0]["messages"][2]
        shown = result["content"][0]["text"]
        assert "120000" in shown
        assert text.endswith(shown[-1000:])
        assert sum(len(event["chunk"]) for event in events(host, "tool_output")) < 4 * len("100000\n") * 20_001


def test_a_long_answer_arrives_whole_and_in_order(guest: PiGuest) -> None:
    """In the old dialect this is 3 MB of lines for 6 KB of text."""
    with guest.daemon() as daemon, daemon.connect() as host:
        host.open("a")
        text = turn(host, "@chunks 400")

        assert text == "".join(f"{number:05d}".ljust(16, ".") for number in range(400))


def test_thinking_is_told_apart_from_the_answer(guest: PiGuest) -> None:
    with guest.daemon(pi_models={"reasoning": True}) as daemon, daemon.connect() as host:
        host.open("a")
        turn(host, "@think hmm", "@text so")

        assert [(event["chunk"], event.get("kind", "text")) for event in events(host, "agent_output")] == [
            ("hmm", "thinking"),
            ("so", "text"),
        ]


def test_a_steered_turn_hears_the_message_before_its_next_model_call(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        host.open("a")
        say(host, bash("echo one", until("go")), "@text never said")
        host.event("tool_output")
        assert host.call("steer", message="@text turned")["queued"] is True
        (guest.work("a") / "go").touch()
        host.event("agent_end")

        assert [event["chunk"] for event in events(host, "agent_output")] == ["turned"]
        assert roles(host.call("get_session", taskId="a"), 1) == ["user", "assistant", "tool", "user", "assistant"]
        assert len(events(host, "agent_end")) == 1


def test_a_follow_up_is_heard_when_the_turn_would_end_and_belongs_to_it(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        host.open("a")
        say(host, "@text first", "@gate one")
        said(host, "first")
        assert host.call("follow_up", message="@text second")["queued"] is True
        guest.model.gate("one").open()
        assert host.event("agent_end")["turnNumber"] == 1

        assert [event["chunk"] for event in events(host, "agent_output")] == ["first", "second"]
        assert len(events(host, "agent_end")) == 1
        assert turn(host, "@text third") == "third"


def test_a_message_said_at_the_very_end_is_heard_in_its_turn_or_refused(guest: PiGuest) -> None:
    """Which of the two is a race, and either is right; what pi keeps for a later turn would not be."""
    if guest.pi.name == OLD_DIALECT:
        pytest.skip("pi 0.74 keeps such a message for the next prompt and cannot be told otherwise")
    with guest.daemon() as daemon, daemon.connect() as host:
        host.open("a")
        for number in range(5):
            say(host, f"@text first{number}", f"@gate {number}")
            said(host, f"first{number}")
            guest.model.gate(str(number)).open()
            call = host.ask("steer", message=f"@text late{number}")
            host.event("agent_end")
            heard = f"late{number}" in "".join(event["chunk"] for event in events(host, "agent_output"))
            assert _is_taken(host, call) == heard


def test_what_was_queued_for_an_aborted_turn_goes_with_it(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        host.open("a")
        say(host, "@text before", "@hang")
        said(host, "before")
        host.call("follow_up", message="@text queued")
        host.call("abort")
        assert host.event("agent_end")["stopReason"] == "aborted"

        # pi 0.74 keeps it for the next prompt and cannot be told otherwise.
        assert turn(host, "@text next") == ("nextqueued" if guest.pi.name == OLD_DIALECT else "next")


def test_an_aborted_answer_ends_the_turn_and_the_model_is_left(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        host.open("a")
        say(host, "@text before", "@hang")
        said(host, "before")
        assert host.call("abort")["aborting"] is True
        end = host.event("agent_end")

        assert (end["stopReason"], end["error"]) == ("aborted", "")
        assert guest.last_request().wait_ended() == "client_left"
        assert host.call("abort")["aborting"] is False
        assert turn(host, "@text after") == "after"


def test_an_aborted_tool_ends_the_turn_with_what_it_printed(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        host.open("a")
        say(host, bash("echo one", until("never")))
        host.event("tool_output")
        host.call("abort")
        assert host.event("agent_end")["stopReason"] == "aborted"

        assert "one" in json.dumps(host.call("get_session", taskId="a")["turns"][0])
        assert turn(host, "@text after") == "after"


def test_an_image_is_taken_and_goes_to_the_model_and_into_the_session(guest: PiGuest) -> None:
    with guest.daemon(pi_models={"input": ["text", "image"]}) as daemon, daemon.connect() as host:
        host.open("a")
        say(host, "@text seen", images=[{"data": PNG, "mimeType": "image/png"}])
        assert host.event("agent_end")["stopReason"] == "stop"

        content = host.call("get_session", taskId="a")["turns"][0]["messages"][0]["content"]
        if guest.pi.name == OLD_DIALECT:
            assert f"data:image/png;base64,{PNG}" in guest.last_request().text
            assert [block["type"] for block in content] == ["text", "image"]
        else:
            # The bare package of pi 1.5 lacks the library that it looks at images with, and says so to the model.
            assert "Image omitted" in guest.last_request().text
            assert "Image omitted" in content[0]["text"]


def test_a_failure_that_is_tried_again_ends_the_turn_once_and_well(guest: PiGuest) -> None:
    with guest.daemon(pi_settings=QUICK_RETRY) as daemon, daemon.connect() as host:
        host.open("a")
        say(host, "@status 503 1", "@gate again", "@text at last")
        guest.model.gate("again").wait_reached()
        # pi has said that its first run ended, and that it would try again; the daemon has read that by now or soon.
        assert task_view(host, "a")["promptInFlight"] is True
        assert events(host, "agent_end") == []
        guest.model.gate("again").open()
        end = host.event("agent_end")

        assert (end["stopReason"], end["error"]) == ("stop", "")
        assert len(guest.model.requests) == 2
        assert len(events(host, "agent_end")) == 1


def test_a_failure_that_stays_ends_the_turn_once_and_in_words(guest: PiGuest) -> None:
    with guest.daemon(pi_settings=QUICK_RETRY) as daemon, daemon.connect() as host:
        host.open("a")
        say(host, "@status 503")
        end = host.event("agent_end")

        assert end["stopReason"] == "error"
        assert "503" in end["error"]
        assert len(guest.model.requests) == 3
        assert turn(host, "@text next") == "next"
        assert len(events(host, "agent_end")) == 2


def test_a_connection_that_breaks_ends_the_turn_in_words_and_keeps_what_was_said(guest: PiGuest) -> None:
    with guest.daemon(pi_settings={"retry": {"enabled": False}}) as daemon, daemon.connect() as host:
        host.open("a")
        say(host, "@text before", "@gate one", "@drop")
        said(host, "before")
        guest.model.gate("one").open()
        end = host.event("agent_end")

        assert end["stopReason"] == "error"
        assert end["error"] != ""
        assert "before" in json.dumps(host.call("get_session", taskId="a")["turns"][0])


def test_a_turn_that_fills_the_context_ends_when_it_is_compacted_and_the_task_goes_on(guest: PiGuest) -> None:
    compaction = {"compaction": {"enabled": True, "keepRecentTokens": 1}}
    with guest.daemon(pi_settings=compaction) as daemon, daemon.connect() as host:
        host.open("a")
        turn(host, "the first subject", "@text one")
        # The summary is asked for with this very text in it, so its second line is what the summary says.
        turn(host, "@usage 120000 5", "@text two")
        assert guest.native("a").read_text().count('"type":"compaction"') == 1
        turn(host, "@text three")

        assert [event["turnNumber"] for event in events(host, "agent_end")] == [1, 2, 3]
        assert "the first subject" not in guest.last_request().text


def test_a_pi_without_a_model_says_so_in_the_turn(guest: PiGuest) -> None:
    daemon = guest.daemon()
    guest.forget_models()
    with daemon, daemon.connect() as host:
        host.open("a")
        say(host, "anything")
        end = host.event("agent_end")

        assert end["stopReason"] == "error"
        assert "API key" in end["error"] or "model" in end["error"].lower()


def _is_taken(host: Host, call: int) -> bool:
    try:
        return bool(host.result(call)["queued"])
    except Refused:
        return False


def _prices(**prices: float) -> dict[str, float]:
    """US dollars per million tokens."""
    return {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, **prices}
