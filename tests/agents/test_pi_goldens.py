"""Real pi, recorded: whatever the version and however the bytes come, the codec tells one story."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from taskd.model import agent
from tests.agents.pi_replay import SCENARIOS, Replay, merged
from tests.kit.pi_goldens import NEW, OLD, VERSIONS, read_golden

ASKED_ABOUT = ("dialogs",)
"""Scenarios in which even the newest pi is asked whether a run came of a prompt."""


def plain(story: list[agent.Said]) -> list[Any]:
    """A story as plain values, without what no two versions say alike: times and the words of an error."""
    return [_plain(said) for said in merged(story)]


def _plain(said: agent.Said) -> Any:
    values = json.loads(msgspec.json.encode(said))
    values.pop("duration_ms", None)
    if isinstance(said, agent.TurnEnded):
        values["error"] = bool(said.error)
    return type(said).__name__, values


def prompts(version: str, scenario: str) -> Iterator[dict[str, Any]]:
    """The answers to the prompts that pi took."""
    for line in read_golden(version, scenario):
        if not line.sent and line.value.get("command") == "prompt" and line.value["success"]:
            yield line.value


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_both_versions_tell_the_same_story(scenario: str) -> None:
    assert plain(Replay(OLD, scenario).play().story) == plain(Replay(NEW, scenario).play().story)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_story_is_the_same_however_the_bytes_are_cut(version: str, scenario: str) -> None:
    story = plain(Replay(version, scenario).play().story)
    assert plain(Replay(version, scenario, whole=True).play().story) == story
    assert plain(Replay(version, scenario, cut=True).play().story) == story


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "end_of_input"])
def test_every_accepted_prompt_has_one_end(version: str, scenario: str) -> None:
    story = Replay(version, scenario).play().story
    ends = [said for said in story if isinstance(said, agent.TurnEnded)]
    assert len(ends) == len(list(prompts(version, scenario)))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_that_real_pi_says_is_noise(version: str, scenario: str) -> None:
    noise = [said for said in Replay(version, scenario).play().story if isinstance(said, agent.Noise)]
    assert all(said.reason == "pi could not read a command" for said in noise)


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name not in ASKED_ABOUT])
def test_the_newest_pi_is_not_asked_whether_a_turn_is_over(scenario: str) -> None:
    assert Replay(NEW, scenario).play().asked == 0


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_raw_lines_are_all_lines_but_the_answers_to_our_commands(version: str, scenario: str) -> None:
    ours = {"prompt", "steer", "follow_up", "abort", "get_state", "set_model", "get_available_models"}
    said = [line.value for line in read_golden(version, scenario) if not line.sent]
    expected = [value for value in said if value["type"] != "response" or value.get("command") not in ours]
    assert [json.loads(line) for line in Replay(version, scenario).play().raw] == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_usage_is_that_of_all_model_calls(version: str) -> None:
    story = Replay(version, "tool_turn").play().story
    usage = [said.usage for said in story if isinstance(said, agent.MessageEnded) and said.usage]
    calls = [
        line.value["message"]["usage"]["input"]
        for line in read_golden(version, "tool_turn")
        if not line.sent and line.value["type"] == "message_end" and line.value["message"]["role"] == "assistant"
    ]
    assert [one.input for one in usage] == calls
    assert len(calls) == 2


@pytest.mark.parametrize("version", VERSIONS)
def test_tool_output_comes_as_it_grows_and_ends_with_the_result(version: str) -> None:
    story = Replay(version, "tool_turn").play().story
    outputs = [said for said in story if isinstance(said, agent.ToolOutput)]
    assert [said.text for said in outputs][-1] == "\n\nCommand exited with code 3"
    assert "".join(said.text for said in outputs) == "one\ntwo\n\n\nCommand exited with code 3"
    assert not any(said.reset for said in outputs)
