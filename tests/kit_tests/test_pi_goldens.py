"""What the codec of pi relies on, checked against what real pi has said: the golden transcripts of both dialects.

A new recording that breaks one of these sentences is a new dialect, and wants a decision, not a new recording.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.pi_goldens import GOLDEN_DIR, NEW, OLD, VERSIONS, read_golden, said, scenarios
from tests.kit.pi_scenarios import SCENARIOS
from tests.kit.pi_scrub import SHORTENED
from tests.kit.record_pi import GOLDEN_BYTES

ALL = [(version, scenario) for version in VERSIONS for scenario in scenarios(version)]
every = pytest.mark.parametrize(("version", "scenario"), ALL)
both = pytest.mark.parametrize("version", VERSIONS)


def only(lines: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(lines) == 1
    return lines[0]


def updates(version: str, scenario: str) -> list[dict[str, Any]]:
    return [line["assistantMessageEvent"] for line in said(version, scenario, "message_update")]


@both
def test_every_scenario_is_recorded_and_nothing_else(version: str) -> None:
    assert scenarios(version) == sorted(scenario.__name__ for scenario in SCENARIOS)


@every
def test_a_golden_is_small_and_names_no_place_of_the_machine_it_was_made_on(version: str, scenario: str) -> None:
    data = (GOLDEN_DIR / version / f"{scenario}.jsonl").read_bytes()
    assert len(data) <= GOLDEN_BYTES
    assert not any(place in data for place in (b"/tmp", b"/home", b"/root", b"node_modules"))


@every
def test_all_that_pi_says_is_an_object_with_a_type(version: str, scenario: str) -> None:
    assert all(isinstance(line["type"], str) for line in said(version, scenario))


@every
def test_a_response_names_its_command_and_repeats_its_id(version: str, scenario: str) -> None:
    sent = {
        line.value["id"]: line.value["type"]
        for line in read_golden(version, scenario)
        if line.sent and isinstance(line.value, dict)
    }
    for response in said(version, scenario, "response"):
        assert isinstance(response["success"], bool)
        assert response["success"] != ("error" in response)
        if "id" in response:
            assert sent[response["id"]] == response["command"]
        else:
            assert response["command"] == "parse" or (version, scenario) == (OLD, "unknown_command")


@every
def test_an_answer_to_a_dialog_gets_no_response(version: str, scenario: str) -> None:
    asked = {line["id"] for line in said(version, scenario, "extension_ui_request")}
    assert not [line for line in said(version, scenario, "response") if line.get("id") in asked]


@every
def test_only_the_new_dialect_says_that_a_run_has_settled(version: str, scenario: str) -> None:
    started = [
        line for line in said(version, scenario, "response") if line.get("data", {}).get("disposition") == "started"
    ]
    settled = said(version, scenario, "agent_settled")
    assert len(settled) == (0 if scenario == "end_of_input" else len(started))
    assert version == NEW or not settled
    assert all(isinstance(line["aborted"], bool) for line in settled)


@every
def test_the_end_of_a_run_has_the_messages_but_never_the_usage(version: str, scenario: str) -> None:
    keys = {"type", "messages", "willRetry"} if version == NEW else {"type", "messages"}
    for line in said(version, scenario, "agent_end"):
        assert line.keys() == keys


@every
def test_usage_is_in_the_end_of_each_assistant_message(version: str, scenario: str) -> None:
    for line in said(version, scenario, "message_end"):
        message = line["message"]
        if message["role"] == "assistant":
            assert {"input", "output", "cacheRead", "cacheWrite", "totalTokens", "cost"} <= message["usage"].keys()
            assert message["stopReason"] in ("stop", "toolUse", "error", "aborted")
            assert (message["stopReason"] in ("error", "aborted")) == ("errorMessage" in message)


@every
def test_the_new_dialect_sends_deltas_and_the_old_one_the_whole_partial_twice(version: str, scenario: str) -> None:
    for line in said(version, scenario, "message_update"):
        event = line["assistantMessageEvent"]
        assert ("message" in line, "partial" in event) == ((False, False) if version == NEW else (True, True))
        assert event["type"].endswith("_delta") == ("delta" in event)
        assert isinstance(event["contentIndex"], int)


@every
def test_the_deltas_of_a_block_add_up_to_the_text_at_its_end(version: str, scenario: str) -> None:
    texts: dict[tuple[str, int], str] = {}
    for event in updates(version, scenario):
        kind, _, phase = event["type"].partition("_")
        block = (kind, event["contentIndex"])
        if phase == "start":
            texts[block] = ""
        elif phase == "delta":
            texts[block] += event["delta"]
        elif kind != "toolcall":
            assert texts[block] == event["content"]


@every
def test_tool_output_is_cumulative_and_there_is_no_field_output(version: str, scenario: str) -> None:
    before: dict[str, str] = {}
    for line in said(version, scenario, "tool_execution_update"):
        assert line.keys() == {"type", "toolCallId", "toolName", "args", "partialResult"}
        text = "".join(part["text"] for part in line["partialResult"]["content"])
        assert text.startswith(before.get(line["toolCallId"], ""))
        before[line["toolCallId"]] = text


@every
def test_each_tool_starts_once_and_ends_once_unless_pi_is_gone(version: str, scenario: str) -> None:
    started = [line["toolCallId"] for line in said(version, scenario, "tool_execution_start")]
    ended = [line["toolCallId"] for line in said(version, scenario, "tool_execution_end")]
    assert len(set(started)) == len(started)
    assert sorted(started) == sorted(ended)


@both
def test_tools_of_one_message_run_side_by_side_and_their_results_keep_the_order_of_the_calls(version: str) -> None:
    started = [line["toolCallId"] for line in said(version, "parallel_tools", "tool_execution_start")]
    ended = [line["toolCallId"] for line in said(version, "parallel_tools", "tool_execution_end")]
    ends = [line["message"] for line in said(version, "parallel_tools", "message_end")]
    results = [message["toolCallId"] for message in ends if message["role"] == "toolResult"]
    assert ended == started[::-1]
    assert results == started


@both
def test_a_line_separator_of_unicode_is_inside_one_line(version: str) -> None:
    assert updates(version, "text_turn")[-1]["content"] == "hello wor\u2028ld"


@both
@pytest.mark.parametrize("scenario", ["steer", "follow_up"])
def test_a_queued_message_is_told_and_taken_up_in_the_same_run(version: str, scenario: str) -> None:
    queued, empty = said(version, scenario, "queue_update")
    assert queued["steering"] + queued["followUp"] != []
    assert empty["steering"] + empty["followUp"] == []
    assert len(said(version, scenario, "agent_start")) == len(said(version, scenario, "agent_end")) == 1


@both
@pytest.mark.parametrize("scenario", ["abort_text", "abort_tool"])
def test_an_abort_is_answered_after_the_closing_events(version: str, scenario: str) -> None:
    lines = said(version, scenario)
    answered = next(number for number, line in enumerate(lines) if line.get("id") == "a1")
    last = "agent_settled" if version == NEW else "agent_end"
    assert lines[answered - 1]["type"] == last
    ended = only(said(version, scenario, "agent_end"))
    assert ended["messages"][-1]["stopReason"] == "aborted"


def test_an_aborted_run_settles_as_aborted() -> None:
    for scenario in ("abort_text", "abort_tool", "abort_retry"):
        assert only(said(NEW, scenario, "agent_settled"))["aborted"] is True


@both
def test_a_pi_whose_input_ends_says_no_end_of_its_run(version: str) -> None:
    assert said(version, "end_of_input")[-1]["type"] == "message_update"


@both
def test_a_retried_failure_ends_a_run_each_time(version: str) -> None:
    types = ("agent_end", "auto_retry_start", "auto_retry_end", "agent_settled")
    steps = [line["type"] for line in said(version, "retry_exhausted", *types)]
    settled = ["agent_settled"] if version == NEW else []
    assert steps == ["agent_end", "auto_retry_start"] * 2 + ["agent_end", "auto_retry_end", *settled]
    steps = [line["type"] for line in said(version, "retry_success", *types)]
    assert steps == ["agent_end", "auto_retry_start", "auto_retry_end", "agent_end", *settled]


def test_only_the_new_dialect_says_at_the_end_of_a_run_that_it_will_try_again() -> None:
    assert [line["willRetry"] for line in said(NEW, "retry_exhausted", "agent_end")] == [True, True, False]
    assert only(said(NEW, "abort_retry", "agent_end"))["willRetry"] is True


@both
def test_an_abort_between_two_tries_brings_no_further_end_of_a_run(version: str) -> None:
    ends = ["auto_retry_end", "agent_settled"] if version == NEW else ["auto_retry_end"]
    assert [line["type"] for line in said(version, "abort_retry", "agent_end", "auto_retry_end", "agent_settled")] == [
        "agent_end",
        *ends,
    ]
    assert only(said(version, "abort_retry", "auto_retry_end"))["success"] is False


@both
def test_a_failure_that_is_not_tried_again_is_the_end(version: str) -> None:
    for scenario in ("model_refuses", "model_drops"):
        assert said(version, scenario, "auto_retry_start") == []
        assert only(said(version, scenario, "agent_end"))["messages"][-1]["stopReason"] == "error"


def test_a_compaction_lies_before_the_settling_and_in_the_old_dialect_after_the_end() -> None:
    types = ("agent_end", "compaction_start", "compaction_end", "agent_settled")
    compacted = ["agent_end", "compaction_start", "compaction_end"]
    assert [line["type"] for line in said(OLD, "compaction", *types)][1:] == compacted
    assert [line["type"] for line in said(NEW, "compaction", *types)][2:] == [*compacted, "agent_settled"]


@both
def test_a_prompt_to_a_busy_pi_is_refused_and_does_not_touch_the_run(version: str) -> None:
    refused = only([line for line in said(version, "busy_prompt", "response") if line["id"] == "p2"])
    assert "already processing" in refused["error"]
    assert only(said(version, "busy_prompt", "agent_end"))["messages"][-1]["stopReason"] == "stop"


@both
def test_a_dialog_has_an_id_of_its_own_and_says_what_it_needs(version: str) -> None:
    asked = said(version, "dialogs", "extension_ui_request")
    assert [line["method"] for line in asked] == ["select", "confirm", "input", "notify"]
    assert asked[0]["options"] == ["red", "green"]
    assert asked[-1]["message"] == "green true undefined"
    assert said(version, "dialogs", "agent_start") == []
    assert said(version, "dialogs")[-1]["command"] == "prompt"


@both
def test_a_permission_is_asked_for_after_the_tool_is_said_to_start_and_does_not_name_it(version: str) -> None:
    types = ("tool_execution_start", "extension_ui_request", "tool_execution_end")
    steps = said(version, "permission", *types)
    assert [line["type"] for line in steps] == [*types, *types]
    assert "toolCallId" not in steps[1]
    assert [line["isError"] for line in steps[2::3]] == [True, False]


@both
def test_an_unknown_command_and_a_broken_line_are_answered(version: str) -> None:
    unknown = only(said(version, "unknown_command"))
    assert unknown["error"] == "Unknown command: nope"
    assert ("id" in unknown) == (version == NEW)
    assert only(said(version, "parse_error"))["command"] == "parse"


@both
def test_a_model_is_set_or_said_to_be_unknown(version: str) -> None:
    good, bad, *_ = said(version, "set_model", "response")
    assert (good["data"]["id"], good["data"]["provider"]) == ("mock-2", "mock")
    assert bad["error"] == "Model not found: mock/nope"
    assert said(version, "set_model")[-1]["data"]["model"]["id"] == "mock-2"


@both
def test_a_resumed_session_has_its_history(version: str) -> None:
    state, messages, *_ = said(version, "resume", "response")
    history = [message["role"] for message in messages["data"]["messages"]]
    assert history[-2:] == ["user", "assistant"]
    assert state["data"]["messageCount"] == len(history)


@both
def test_an_adopted_session_brings_its_id_and_its_folder(version: str) -> None:
    state = said(version, "adopt", "response")[1]["data"]
    assert (state["sessionId"], state["sessionFile"]) == ("task-1", "/bench/seeded.jsonl")
    output = said(version, "adopt", "tool_execution_end")[0]["result"]["content"][0]["text"]
    assert output == "/bench/elsewhere\n"


@both
def test_a_command_of_the_user_is_answered_with_its_output(version: str) -> None:
    *lines, response = said(version, "user_bash")
    assert response["data"] == {"output": "one\n", "exitCode": 3, "cancelled": False, "truncated": False}
    # These events repeat the id of the command: an id alone does not make a line a response.
    assert [line["id"] for line in lines if line["type"] == "bash_execution_update"] == ["b1"] * len(lines)
    assert (lines == []) == (version == OLD)


def test_only_the_new_dialect_begins_a_session_with_its_system_prompt() -> None:
    roles = {version: said(version, "text_turn", "message_start")[0]["message"] for version in VERSIONS}
    assert (roles[NEW]["role"], roles[OLD]["role"]) == ("system", "user")
    assert set(roles[NEW]["sections"].values()) == {SHORTENED}
