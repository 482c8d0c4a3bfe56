"""The codec of pi: handshake, commands and answers, questions, noise, raw lines, bounds."""

import json
from typing import Any

import msgspec
import pytest

from taskd.agents.pi import Pi
from taskd.agents.pi_codec import MAX_PENDING, PiCodec
from taskd.model import agent
from taskd.model.limits import DEFAULT_LIMITS, Limits
from tests.agents.pi_replay import OPENING, STATE, answer_to, line_of, written
from tests.agents.pi_talk import RUN_STARTS, Talk, answered, delta, message, of_kind, old_delta, text

MODEL_2 = {"id": "mock-2", "provider": "mock", "name": "Mock Two", "contextWindow": 1000}


@pytest.fixture
def talk() -> Talk:
    return Talk()


def opened(**fields: Any) -> PiCodec:
    codec = Pi().codec(msgspec.structs.replace(OPENING, **fields), DEFAULT_LIMITS, keep_raw=False)
    codec.start()
    return codec


def step(codec: PiCodec, data: Any = None, error: str | None = None) -> tuple[dict[str, Any], list[agent.Said]]:
    """Answer the one command that the codec has written."""
    (command,) = written(codec)
    return command, codec.feed(answer_to(command, data, error))


# Handshake ----------------------------------------------------------------------------------------------------------


def test_pi_is_ready_when_it_has_told_its_state() -> None:
    command, (ready,) = step(opened(), STATE)
    assert command == {"id": command["id"], "type": "get_state"}
    assert ready == agent.Ready(
        agent.Abilities(resume=True, images=True, steer=True, models=True, questions=True),
        agent.Model("mock", "mock-1", "Mock One", 128000),
        "off",
        "/task-1/agent/session.jsonl",
    )


@pytest.mark.parametrize("provider", ["mock", None])
def test_a_model_that_is_set_already_is_not_set(provider: str | None) -> None:
    _, (ready,) = step(opened(provider=provider, model="mock-1", thinking_level="off"), STATE)
    assert isinstance(ready, agent.Ready)


def test_another_model_and_level_are_set_one_after_the_other_and_read_back() -> None:
    codec = opened(provider="mock", model="mock-2", thinking_level="high")
    step(codec, STATE)
    command, said = step(codec, MODEL_2)
    assert (command["type"], command["provider"], command["modelId"], said) == ("set_model", "mock", "mock-2", [])
    command, said = step(codec)
    assert (command["type"], command["level"], said) == ("set_thinking_level", "high", [])
    _, (ready,) = step(codec, {**STATE, "model": MODEL_2, "thinkingLevel": "low"})
    assert ready.model == agent.Model("mock", "mock-2", "Mock Two", 1000)
    assert ready.thinking_level == "low"


def test_a_level_alone_is_set_alone() -> None:
    codec = opened(thinking_level="high")
    step(codec, STATE)
    command, _ = step(codec)
    assert command["type"] == "set_thinking_level"


def test_a_model_without_a_provider_is_looked_for_at_the_present_one() -> None:
    codec = opened(model="mock-2")
    step(codec, STATE)
    command, _ = step(codec, MODEL_2)
    assert command["provider"] == "mock"


def test_a_model_that_pi_refuses_ends_the_handshake_with_its_words() -> None:
    codec = opened(provider="mock", model="nope")
    step(codec, STATE)
    assert step(codec, error="Model not found: mock/nope")[1] == [agent.Refused("Model not found: mock/nope")]
    assert written(codec) == []


@pytest.mark.parametrize("data", [None, 5, {"model": 5}])
def test_a_state_that_cannot_be_read_ends_the_handshake(data: Any) -> None:
    assert step(opened(), data)[1] == [agent.Refused("pi gave no usable answer to get_state")]


def test_a_pi_without_a_model_is_ready_without_one() -> None:
    _, (ready,) = step(opened(), {**STATE, "model": {"id": "unknown", "provider": "unknown"}})
    assert ready.model is None


def test_what_an_extension_asks_during_the_start_is_told() -> None:
    codec = opened()
    (asked,) = codec.feed(line_of({"type": "extension_ui_request", "id": "q", "method": "confirm", "title": "Trust?"}))
    assert asked == agent.Asked("q", "confirm", "Trust?")
    assert isinstance(step(codec, STATE)[1][0], agent.Ready)


# Commands and answers -----------------------------------------------------------------------------------------------


def test_images_go_with_the_prompt(talk: Talk) -> None:
    (command,) = talk.tell(agent.Prompt(1, "look", (agent.Image("QUJD", "image/png"),)))
    assert command["images"] == [{"type": "image", "data": "QUJD", "mimeType": "image/png"}]


def test_answers_are_found_by_their_id_in_any_order(talk: Talk) -> None:
    talk.new_prompt()
    commands = talk.tell(agent.Steer(7, "a"), agent.FollowUp(8, "b"), agent.Probe(), agent.ListModels(9))
    assert len({command["id"] for command in commands}) == 4
    steer, follow, probe, models = commands
    assert talk.answer(models, {"models": [MODEL_2, {}]})[0].value == [agent.Model("mock", "mock-2", "Mock Two", 1000)]
    assert talk.answer(probe, STATE) == [agent.Alive()]
    assert talk.answer(follow) == [agent.Answered(8, True)]
    assert talk.answer(steer, error="no") == [agent.Answered(7, False, error="no")]


def test_an_answer_comes_once(talk: Talk) -> None:
    (command,) = talk.tell(agent.Probe())
    assert talk.answer(command, STATE) == [agent.Alive()]
    assert talk.answer(command, STATE) == []


def test_an_answer_without_an_id_is_that_of_the_oldest_command_of_its_type(talk: Talk) -> None:
    talk.tell(agent.Probe(), agent.Steer(1, "a"), agent.Steer(2, "b"))
    nameless = {"type": "response", "command": "steer", "success": False, "error": "Unknown command: steer"}
    assert talk.pi(nameless) == [agent.Answered(1, False, error="Unknown command: steer")]
    assert talk.pi(nameless) == [agent.Answered(2, False, error="Unknown command: steer")]
    assert talk.pi(nameless) == []


@pytest.mark.parametrize("id_", [7, "other", True, {"a": 1}])
def test_an_answer_to_somebody_else_is_nobodys(talk: Talk, id_: Any) -> None:
    talk.tell(agent.Probe())
    assert talk.pi({"id": id_, "type": "response", "command": "get_state", "success": True}) == []


def test_a_command_that_pi_could_not_parse_is_noise(talk: Talk) -> None:
    (noise,) = talk.pi({"type": "response", "command": "parse", "success": False, "error": "Unexpected token"})
    assert noise == agent.Noise("pi could not read a command", "Unexpected token")


def test_a_set_model_is_believed_when_pi_says_so(talk: Talk) -> None:
    good, bad = talk.tell(agent.SetModel(1, "mock", "mock-2"), agent.SetModel(2, "mock", "nope"))
    assert talk.answer(good, MODEL_2) == [agent.Answered(1, True, agent.Model("mock", "mock-2", "Mock Two", 1000))]
    assert talk.answer(bad, error="Model not found") == [agent.Answered(2, False, error="Model not found")]


def test_commands_that_are_never_answered_are_forgotten_at_last(talk: Talk) -> None:
    (first, *_, last) = talk.tell(*[agent.Probe()] * (MAX_PENDING + 1))
    assert talk.answer(first, STATE) == []
    assert talk.answer(last, STATE) == [agent.Alive()]


def test_outgoing_bytes_are_given_once(talk: Talk) -> None:
    talk.codec.send(agent.Probe())
    assert talk.codec.outgoing().endswith(b"\n")
    assert talk.codec.outgoing() == b""


# Questions ----------------------------------------------------------------------------------------------------------


def test_questions_are_told_as_pi_asks_them(talk: Talk) -> None:
    ask = {"type": "extension_ui_request"}
    assert talk.pi(
        {**ask, "id": "1", "method": "select", "title": "Pick", "options": ["red", 5, "green"], "timeout": 500},
        {**ask, "id": "2", "method": "confirm", "title": "Sure?", "message": "It is for ever", "timeout": None},
        {**ask, "id": "3", "method": "input", "title": "Name", "placeholder": "somebody"},
        {**ask, "id": "4", "method": "editor", "title": "Edit", "prefill": "old"},
    ) == [
        agent.Asked("1", "select", "Pick", options=("red", "green"), timeout_ms=500),
        agent.Asked("2", "confirm", "Sure?", "It is for ever"),
        agent.Asked("3", "input", "Name", placeholder="somebody"),
        agent.Asked("4", "editor", "Edit", prefill="old"),
    ]


@pytest.mark.parametrize("method", ["notify", "setStatus", "setWidget", "setTitle", "set_editor_text", "to_come"])
def test_what_wants_no_answer_is_not_asked(talk: Talk, method: str) -> None:
    assert talk.pi({"type": "extension_ui_request", "id": "1", "method": method, "message": "hi"}) == []


@pytest.mark.parametrize(
    ("answer", "wire"),
    [
        (agent.AnswerQuestion("q", value="green"), {"value": "green"}),
        (agent.AnswerQuestion("q", value=""), {"value": ""}),
        (agent.AnswerQuestion("q", confirmed=False), {"confirmed": False}),
        (agent.AnswerQuestion("q", cancelled=True), {"cancelled": True}),
        (agent.AnswerQuestion("q"), {"cancelled": True}),
    ],
)
def test_no_answer_is_expected_to_the_answer_of_a_question(
    talk: Talk, answer: agent.AnswerQuestion, wire: dict[str, Any]
) -> None:
    talk.new_prompt()
    assert talk.tell(answer) == [{"type": "extension_ui_response", "id": "q", **wire}]
    talk.tell(agent.Steer(1, "a"))
    nameless = {"type": "response", "command": "steer", "success": True}
    assert talk.pi(nameless) == [agent.Answered(1, True)]


# Text and tools -----------------------------------------------------------------------------------------------------


def test_deltas_that_come_together_are_told_together(talk: Talk) -> None:
    said = talk.pi(
        delta("hm", "thinking"), delta("m", "thinking"), delta("a"), delta("b"), {"type": "turn_start"}, delta("c")
    )
    assert said == [agent.TextDelta("hmm", "thinking"), agent.TextDelta("abc")]


def test_the_order_of_text_and_all_else_is_kept(talk: Talk) -> None:
    start = {"type": "tool_execution_start", "toolCallId": "c", "toolName": "bash", "args": {}}
    said = talk.pi(delta("a"), start, delta("b"), answered("stop", "ab"), delta("c"))
    assert [type(one) for one in said] == [
        agent.TextDelta,
        agent.ToolStarted,
        agent.TextDelta,
        agent.MessageEnded,
        agent.TextDelta,
    ]


def test_text_of_the_old_form_is_told_once(talk: Talk) -> None:
    assert talk.pi(old_delta("ab", "ab"), old_delta("cd", "abcd")) == [agent.TextDelta("abcd")]


@pytest.mark.parametrize("event", [None, {}, {"type": "text_delta"}, {"type": "text_delta", "delta": None}])
def test_an_update_without_text_says_nothing(talk: Talk, event: Any) -> None:
    assert talk.pi({"type": "message_update", "assistantMessageEvent": event}) == []


def test_parallel_tools_are_told_apart(talk: Talk) -> None:
    def shows(call: str, output: str) -> dict[str, Any]:
        return {"type": "tool_execution_update", "toolCallId": call, "partialResult": {"content": [text(output)]}}

    talk.pi({"type": "tool_execution_start", "toolCallId": "a", "toolName": "bash", "args": {"command": "x"}})
    talk.pi({"type": "tool_execution_start", "toolCallId": "b", "toolName": "read", "args": None})
    said = talk.pi(shows("a", "1\n"), shows("b", "x\n"), shows("a", "1\n2\n"), shows("b", "x\n"), shows("a", "1\n2\n"))
    assert [(one.tool_call_id, one.text) for one in said] == [("a", "1\n"), ("b", "x\n"), ("a", "2\n")]
    end = {"type": "tool_execution_end", "toolCallId": "b", "isError": True, "durationMs": 12.5}
    assert talk.pi({**end, "result": {"content": [text("x\ny\n")]}}) == [
        agent.ToolOutput("b", "y\n"),
        agent.ToolEnded("b", "read", True, 12),
    ]


def test_arguments_keep_their_form_and_nothing_else_passes_for_them(talk: Talk) -> None:
    start = b'{"type":"tool_execution_start","toolCallId":"c","toolName":"t","args":%s}\n'
    for args, told in [(b'{"a": [1,  2]}', b'{"a": [1,  2]}'), (b"null", b"{}"), (b'{"a":"\xff"}', b"{}")]:
        (said,) = of_kind(talk.codec.feed(start % args), agent.ToolStarted)
        assert bytes(said.args) == told


# What is no message -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"null", "not an object with a type"),
        (b"[1]", "not an object with a type"),
        (b'{"a":1}', "not an object with a type"),
        (b'{"type":5}', "not an object with a type"),
        (b"", "not JSON"),
        (b"Warning: deprecated", "not JSON"),
        (b'{"type":"x\xff"}', "not JSON"),
        (b'{"type":"agent_start"', "not JSON"),
        (b'{"type":"agent_end","willRetry":"yes"}', "a agent_end of another shape"),
        (b'{"type":"message_end","message":[]}', "a message_end of another shape"),
        (b'{"type":"response","x":' + b"[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_message_is_noise(talk: Talk, line: bytes, reason: str) -> None:
    (noise,) = talk.codec.feed(line + b"\n")
    assert noise.reason == reason
    assert len(noise.sample) <= 200


@pytest.mark.parametrize("kind", ["turn_start", "queue_update", "entry_appended", "from_the_future"])
def test_messages_that_mean_nothing_to_us_are_no_noise(talk: Talk, kind: str) -> None:
    assert talk.pi({"type": kind, "anything": [1, None, {"type": "agent_settled"}]}) == []


def test_a_line_above_the_limit_is_noise_and_the_next_is_heard() -> None:
    talk = Talk(Limits(agent_line_bytes=1000))
    assert talk.pi(delta("x" * 1000), delta("y")) == [agent.Noise("line too long"), agent.TextDelta("y")]


def test_a_torn_line_at_the_end_is_noise(talk: Talk) -> None:
    assert talk.codec.feed(b'{"type":"agent_se') == []
    assert talk.codec.feed(b"") == [agent.Noise("torn line at the end", '{"type":"agent_se')]
    assert talk.codec.feed(b"") == []


def test_line_separators_of_unicode_are_text(talk: Talk) -> None:
    assert talk.pi(delta("a\u2028b\u2029c\x85d")) == [agent.TextDelta("a\u2028b\u2029c\x85d")]


def test_carriage_returns_before_newlines_are_taken(talk: Talk) -> None:
    assert talk.codec.feed(b'{"type":"message_update","assistantMessageEvent":{"type":"text_delta","delta":"a"}}\r\n')


def test_half_of_a_surrogate_pair_does_not_lose_the_line(talk: Talk) -> None:
    line = line_of(delta("HERE")).replace(b"HERE", rb"\\ud83d \ud83d\ude00 \ud83d")
    assert talk.codec.feed(line) == [agent.TextDelta("\\ud83d \U0001f600 ?")]


# Raw lines ----------------------------------------------------------------------------------------------------------


def test_raw_lines_are_those_of_the_last_piece() -> None:
    talk = Talk(keep_raw=True)
    talk.pi(RUN_STARTS, delta("a"))
    assert [json.loads(line) for line in talk.codec.raw_lines()] == [RUN_STARTS, delta("a")]
    talk.codec.feed(b'{"type":"turn_')
    assert talk.codec.raw_lines() == []
    talk.codec.feed(b'start"}\nnoise\n')
    assert talk.codec.raw_lines() == [b'{"type":"turn_start"}']


def test_raw_lines_are_not_kept_unless_wanted() -> None:
    talk = Talk()
    talk.pi(RUN_STARTS)
    assert talk.codec.raw_lines() == []


def test_raw_lines_hold_no_answers_to_us_and_nothing_long_or_broken() -> None:
    talk = Talk(Limits(raw_line_bytes=500), keep_raw=True)
    (probe,) = talk.tell(agent.Probe())
    talk.codec.feed(
        answer_to(probe, STATE)
        + line_of({"id": "theirs", "type": "response", "command": "bash", "success": True})
        + line_of(message("user", text("x" * 600)))
        + b'{"type":"turn_start","x":"\xff"}\n'
        + line_of({"type": "turn_start", "x": "ü"})
    )
    assert [json.loads(line).get("id", "ü") for line in talk.codec.raw_lines()] == ["theirs", "ü"]


# Bounds -------------------------------------------------------------------------------------------------------------


def test_long_texts_of_questions_and_errors_are_cut(talk: Talk) -> None:
    (asked,) = talk.pi({"type": "extension_ui_request", "id": "1", "method": "editor", "prefill": "x" * 100_000})
    assert len(asked.prefill) == 1 << 16
    (steer,) = talk.tell(agent.Steer(1, "a"))
    (answer,) = talk.answer(steer, error="y" * 100_000)
    assert len(answer.error) == 4096
