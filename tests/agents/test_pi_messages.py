"""pi's messages in neutral words."""

from typing import Any

import pytest

from taskd.model import agent
from taskd.model.limits import Limits
from tests.agents.pi_talk import Talk, message, of_kind, text


def told(value: dict[str, Any], limits: Limits | None = None) -> agent.MessageEnded | None:
    said = (Talk(limits) if limits else Talk()).pi(value)
    found = of_kind(said, agent.MessageEnded)
    return found[0] if found else None


def blocks(value: dict[str, Any], limits: Limits | None = None) -> tuple[agent.Block, ...]:
    ended = told(value, limits)
    assert ended is not None
    return ended.content


def test_every_kind_of_block_has_its_neutral_form() -> None:
    call = {"type": "toolCall", "id": "c1", "name": "bash", "arguments": {"command": "ls"}}
    thinking = {"type": "thinking", "thinking": "hmm", "thinkingSignature": "x"}
    one, two, three = blocks(message("assistant", thinking, text("so"), call, {"type": "from_the_future"}))
    assert (one.type, one.text) == ("thinking", "hmm")
    assert (two.type, two.text) == ("text", "so")
    assert (three.type, three.tool_call_id, three.name, bytes(three.args)) == (
        "tool_call",
        "c1",
        "bash",
        b'{"command":"ls"}',
    )


def test_a_tool_result_is_one_block_and_its_images() -> None:
    image = {"type": "image", "data": "QUJD", "mimeType": "image/png"}
    ended = told(message("toolResult", text("a"), image, text("b"), toolCallId="c1", toolName="read", isError=True))
    assert ended is not None
    assert ended.role == "tool"
    result, picture = ended.content
    assert (result.type, result.text, result.tool_call_id, result.name, result.is_error) == (
        "tool_result",
        "a\nb",
        "c1",
        "read",
        True,
    )
    assert (picture.type, picture.name, picture.truncated) == ("image", "image/png", True)


def test_content_may_be_a_string() -> None:
    (block,) = blocks({"type": "message_end", "message": {"role": "user", "content": "hi"}})
    assert (block.type, block.text) == ("text", "hi")


@pytest.mark.parametrize("role", ["system", "bashExecution", "compactionSummary", "branchSummary", ""])
def test_messages_that_are_not_of_the_conversation_are_left_out(role: str) -> None:
    assert told(message(role, text("x"))) is None


def test_a_message_of_an_extension_is_of_the_conversation() -> None:
    ended = told(message("custom", text("note"), customType="n", display=True))
    assert ended is not None
    assert ended.role == "custom"


@pytest.mark.parametrize("usage", [None, {}, {"input": 0, "cost": None}])
def test_what_is_left_of_an_attempt_that_said_nothing_is_no_message(usage: Any) -> None:
    assert told(message("assistant", stopReason="error", errorMessage="503", usage=usage)) is None


def test_usage_is_mapped_and_what_is_missing_is_nothing() -> None:
    full = {"input": 5, "output": 6, "cacheRead": 7, "cacheWrite": 8, "totalTokens": 26, "cost": {"total": 0.5}}
    ended = told(message("assistant", text("x"), usage=full))
    assert ended is not None
    assert ended.usage == agent.Usage(5, 6, 7, 8, 26, 0.5)
    ended = told(message("assistant", text("x"), usage={"input": None, "output": 2.0, "cost": {"total": None}}))
    assert ended is not None
    assert ended.usage == agent.Usage(output=2)


@pytest.mark.parametrize("value", [None, {}, {"role": None}])
def test_a_message_that_is_hardly_there_is_none(value: Any) -> None:
    assert told({"type": "message_end", "message": value}) is None


def test_text_above_the_bound_is_cut_at_a_character_and_marked() -> None:
    limits = Limits(turn_text_bytes=10)
    one, two, three = blocks(message("assistant", text("aaaa"), text("üüüüü"), text("rest")), limits)
    assert (one.text, one.truncated) == ("aaaa", False)
    assert (two.text, two.truncated) == ("üüü", True)
    assert (three.text, three.truncated) == ("", True)


def test_arguments_above_the_bound_are_left_out_and_marked() -> None:
    call = {"type": "toolCall", "id": "c1", "name": "write", "arguments": {"content": "x" * 100}}
    (block,) = blocks(message("assistant", call), Limits(turn_text_bytes=50))
    assert (bytes(block.args), block.truncated) == (b"{}", True)


def test_a_tool_result_above_the_bound_is_cut() -> None:
    (block,) = blocks(message("toolResult", text("x" * 100), toolCallId="c1"), Limits(turn_text_bytes=50))
    assert (len(block.text), block.truncated) == (50, True)
