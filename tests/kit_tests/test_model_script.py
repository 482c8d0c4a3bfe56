"""What the directives of a prompt mean. Pure: no server is started here."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.model_script import (
    Await,
    Call,
    Drop,
    Hang,
    Pause,
    Refusal,
    Reply,
    Say,
    ScriptError,
    read_script,
    reply_to,
)

CALLED = {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def result(text: str) -> dict[str, str]:
    return {"role": "tool", "content": text}


def test_a_prompt_without_directives_is_echoed() -> None:
    assert reply_to([user("good morning")]).steps == (Say("echo: good morning"),)


def test_the_steps_keep_the_order_of_the_lines_and_prose_between_them_is_ignored() -> None:
    (reply,) = read_script("please do this\n@text a\nthen\n@gate half\n@think b\n@hang\n@drop")
    assert reply.steps == (Say("a"), Await("half"), Say("b", thinking=True), Hang(), Drop())


def test_a_text_in_json_quotes_may_hold_line_ends() -> None:
    (reply,) = read_script('@text "one\\ntwo\\u2028three"')
    assert reply.steps == (Say("one\ntwo\u2028three"),)


def test_a_delay_goes_before_each_later_delta() -> None:
    (reply,) = read_script("@text a\n@delay 20\n@chunks 2 5")
    assert reply.steps == (Say("a"), Pause(0.02), Say("00000"), Pause(0.02), Say("00001"))


def test_a_tool_ends_the_reply_and_what_follows_answers_its_result() -> None:
    script = 'x\n@text look\n@tool bash {"command":"ls"}\n@also read {"path":"a"}\n@text done'
    history = [user(script)]
    assert reply_to(history) == Reply((Say("look"),), (Call("bash", '{"command":"ls"}'), Call("read", '{"path":"a"}')))
    assert reply_to([*history, CALLED, result("a"), result("b")]).steps == (Say("done"),)


def test_two_tools_are_two_requests_and_the_script_that_ran_out_tells_the_last_result() -> None:
    history = [user("@tool first\n@tool second")]
    assert reply_to(history).calls == (Call("first", "{}"),)
    assert reply_to([*history, CALLED, result("1")]).calls == (Call("second", "{}"),)
    assert reply_to([*history, CALLED, result("1"), CALLED, result("2")]).steps == (Say("tool said: 2"),)


def test_only_the_last_user_message_counts() -> None:
    assert reply_to([user("@tool a"), CALLED, result("1"), user("@text new")]).steps == (Say("new"),)


def test_a_status_may_be_limited_to_the_first_tries() -> None:
    assert reply_to([user("@status 503")]).refusal == Refusal(503, None)
    assert reply_to([user("@status 503 2\n@text then")]) == Reply((Say("then"),), refusal=Refusal(503, 2))


def test_usage_is_given_as_two_numbers() -> None:
    assert reply_to([user("@usage 7 8")]).usage == (7, 8)


def test_content_in_parts_is_read_and_other_parts_are_passed_over() -> None:
    parts = [{"type": "text", "text": "@text hi"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    assert reply_to([{"role": "user", "content": parts}]).steps == (Say("hi"),)


@pytest.mark.parametrize("line", ["@txet hello", "@delay soon", "@chunks", "@also bash {}", "@usage 1", "@status x"])
def test_a_mistyped_directive_is_an_error_that_names_the_line(line: str) -> None:
    with pytest.raises(ScriptError, match=line.split()[0]):
        reply_to([user(line)])


@given(st.text())
def test_any_prompt_gives_a_reply_or_a_script_error(prompt: str) -> None:
    try:
        reply = reply_to([user(prompt)])
    except ScriptError:
        assert "@" in prompt
    else:
        assert isinstance(reply, Reply)


@given(st.lists(st.text(), max_size=5))
def test_every_quoted_text_comes_back_unchanged(texts: list[str]) -> None:
    script = "\n".join(f"@text {json.dumps(text)}" for text in ["", *texts])
    (reply,) = read_script(script)
    assert [step.text for step in reply.steps if isinstance(step, Say)] == ["", *texts]
