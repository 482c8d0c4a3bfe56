"""The mock model over a real socket, spoken to by a small client of this file."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.kit.mock_model import HOST, MockModel

LIMIT_S = 10.0


@pytest.fixture
def model() -> Iterator[MockModel]:
    with MockModel() as model:
        yield model


def connect(model: MockModel) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(HOST, model.port, timeout=LIMIT_S)


def ask(line: http.client.HTTPConnection, *prompts: str, system: str = "be brief") -> http.client.HTTPResponse:
    messages = [{"role": "system", "content": system}, *({"role": "user", "content": text} for text in prompts)]
    body = {"model": "mock-1", "stream": True, "messages": messages}
    line.request("POST", "/v1/chat/completions", json.dumps(body))
    return line.getresponse()


def events(answer: http.client.HTTPResponse) -> list[Any]:
    """Every event of the reply as it comes; `[DONE]` is left as text."""
    data = [block.removeprefix(b"data: ") for block in answer.read().split(b"\n\n") if block]
    return [item.decode() if item == b"[DONE]" else json.loads(item) for item in data]


def text_in(items: list[Any]) -> str:
    deltas = [choice["delta"] for item in items if isinstance(item, dict) for choice in item["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


def one_event(answer: http.client.HTTPResponse) -> Any:
    """The next event, read without waiting for more than it."""
    data = answer.readline().removeprefix(b"data: ")
    answer.readline()
    return json.loads(data)


def test_a_text_turn_is_streamed_and_ends_with_usage_and_done(model: MockModel) -> None:
    with closing(connect(model)) as line, ask(line, '@text "hello "\n@text world') as answer:
        said = events(answer)
    assert text_in(said) == "hello world"
    assert said[-3]["choices"][0]["finish_reason"] == "stop"
    assert said[-2]["usage"] == {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22}
    assert said[-1] == "[DONE]"


def test_tool_calls_of_one_reply_have_ids_of_their_own(model: MockModel) -> None:
    with closing(connect(model)) as line, ask(line, '@tool bash {"command":"a"}\n@also bash {}') as answer:
        said = events(answer)
    calls = [call for item in said[:-2] for call in item["choices"][0]["delta"].get("tool_calls", [])]
    assert [call["id"] for call in calls] == ["call_0_0", "call_0_1"]
    assert calls[0]["function"] == {"name": "bash", "arguments": '{"command":"a"}'}
    assert said[-3]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_reply_waits_at_its_gate_until_the_test_opens_it(model: MockModel) -> None:
    with closing(connect(model)) as line, ask(line, "@text before\n@gate half\n@text after") as answer:
        assert text_in([one_event(answer), one_event(answer)]) == "before"
        model.gate("half").wait_reached(LIMIT_S)
        assert model.requests[0].outcome is None
        model.gate("half").open()
        assert text_in(events(answer)) == "after"
    assert model.requests[0].wait_ended(LIMIT_S) == "finished"


def test_a_gate_opened_before_anybody_comes_holds_nobody(model: MockModel) -> None:
    model.gate("early").open()
    with closing(connect(model)) as line, ask(line, "@gate early\n@text through") as answer:
        assert text_in(events(answer)) == "through"


def test_a_gate_that_nobody_reaches_is_an_error_and_not_an_endless_wait(model: MockModel) -> None:
    with pytest.raises(TimeoutError, match="lonely"):
        model.gate("lonely").wait_reached(0)
    with pytest.raises(TimeoutError, match="not 1"):
        model.wait_for_requests(1, 0)


def test_a_client_that_leaves_a_hanging_reply_is_noticed(model: MockModel) -> None:
    with closing(connect(model)) as line, ask(line, "@text one\n@hang") as answer:
        one_event(answer)
    (request,) = model.wait_for_requests(1)
    assert request.wait_ended(LIMIT_S) == "client_left"


def test_a_dropped_reply_has_its_first_words_and_no_proper_end(model: MockModel) -> None:
    with closing(connect(model)) as line, ask(line, "@text one\n@drop") as answer:
        assert text_in([one_event(answer), one_event(answer)]) == "one"
        with pytest.raises(http.client.IncompleteRead):
            answer.read()
    assert model.requests[0].wait_ended(LIMIT_S) == "dropped"


def test_a_status_for_the_first_tries_counts_the_tries_of_that_request(model: MockModel) -> None:
    statuses = []
    for _ in range(3):
        with closing(connect(model)) as line, ask(line, "@status 503 2\n@text at last") as answer:
            statuses.append(answer.status)
    assert statuses == [503, 503, 200]
    assert [request.outcome for request in model.requests[:2]] == ["refused", "refused"]


def test_a_mistyped_directive_is_refused_with_its_name(model: MockModel) -> None:
    with closing(connect(model)) as line, ask(line, "@txet hello") as answer:
        assert (answer.status, "@txet" in answer.read().decode()) == (400, True)
    assert model.requests[0].wait_ended(LIMIT_S) == "refused"


def test_every_request_is_kept_with_all_that_the_model_was_told(model: MockModel) -> None:
    for system in ("facts of task one", "facts of task two"):
        with closing(connect(model)) as line, ask(line, "hello", system=system) as answer:
            events(answer)
    first, second = model.wait_for_requests(2)
    assert "task one" in first.text
    assert "task one" not in second.text
    assert second.messages[-1] == {"role": "user", "content": "hello"}
    assert second.model == "mock-1"


def test_leaving_the_mock_cuts_replies_under_way() -> None:
    with MockModel() as model:
        with closing(connect(model)) as line, ask(line, "@text one\n@hang") as answer:
            one_event(answer)
            model.close()
            with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
                answer.read()
        assert model.requests[0].wait_ended(LIMIT_S) == "closed"


def test_two_replies_run_at_the_same_time(model: MockModel) -> None:
    said: dict[str, str] = {}

    def turn(name: str) -> None:
        with closing(connect(model)) as line, ask(line, f"@gate {name}\n@text {name}") as answer:
            said[name] = text_in(events(answer))

    threads = [threading.Thread(target=turn, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for name in ("b", "a"):
        model.gate(name).wait_reached(LIMIT_S)
        model.gate(name).open()
    for thread in threads:
        thread.join(LIMIT_S)
    assert said == {"a": "a", "b": "b"}


def test_the_models_and_the_gates_are_reachable_over_http_too(model: MockModel) -> None:
    for method, path, status in [("GET", "/v1/models", 200), ("POST", "/gates/x", 200), ("GET", "/nothing", 404)]:
        with closing(connect(model)) as line:
            line.request(method, path)
            with line.getresponse() as answer:
                assert answer.status == status
    with closing(connect(model)) as line, ask(line, "@gate x\n@text open") as answer:
        assert text_in(events(answer)) == "open"


def test_what_is_not_a_streamed_completion_is_refused(model: MockModel) -> None:
    for body in ("{}", "[1]", "no json"):
        with closing(connect(model)) as line:
            line.request("POST", "/v1/chat/completions", body)
            with line.getresponse() as answer:
                assert answer.status == 400
    assert model.requests == []
