"""The instant agent of the harness: it answers what pi answers, and sends the text that the harness expects."""

import json
import subprocess
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_client.bench import agent
from host_client.bench.scenes.stream import KINDS
from host_client.bench.system import interpreter

PATIENCE_SECONDS = 20


def said(*commands: dict[str, object]) -> list[dict[str, object]]:
    """What the program says to commands, to the end of its input."""
    lines = "".join(json.dumps(command) + "\n" for command in commands)
    out = subprocess.run(
        interpreter("agent.py"), input=lines.encode(), stdout=subprocess.PIPE, timeout=PATIENCE_SECONDS, check=True
    ).stdout
    return [json.loads(line) for line in out.split(b"\n") if line]


def written(message: str) -> list[dict[str, object]]:
    """What one prompt writes."""
    data = b"".join(piece for pieces in agent.turn('"1"', message) for piece in pieces)
    return [json.loads(line) for line in data.split(b"\n") if line]


def deltas(lines: list[dict[str, object]]) -> list[str]:
    events = [line["assistantMessageEvent"] for line in lines if line["type"] == "message_update"]
    return [event["delta"] for event in events]  # type: ignore[index]


def test_it_echoes_a_prompt_as_one_turn() -> None:
    lines = said({"id": "7", "type": "prompt", "message": 'say "id": \u2028 \\ hello'})

    assert lines[0] == {
        "id": "7",
        "type": "response",
        "command": "prompt",
        "success": True,
        "data": {"disposition": "started"},
    }
    assert deltas(lines) == ['echo: say "id": \u2028 \\ hello']
    assert [line["type"] for line in lines[-2:]] == ["agent_end", "agent_settled"]


def test_it_answers_every_command_and_no_answer() -> None:
    lines = said(
        {"id": "1", "type": "get_state"},
        {"type": "extension_ui_response", "id": "x", "confirmed": True},
        {"id": "2", "type": "set_model", "provider": "bench", "modelId": "instant"},
        {"id": "3", "type": "something_new"},
    )

    assert [(line["id"], line["command"], line["success"]) for line in lines] == [
        ("1", "get_state", True),
        ("2", "set_model", True),
        ("3", "something_new", True),
    ]
    assert lines[0]["data"]["isStreaming"] is False  # type: ignore[index]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_flood_is_the_text_that_is_looked_for(kind) -> None:  # type: ignore[no-untyped-def]
    kind = kind._replace(deltas=300)

    text = "".join(deltas(written(f"{kind.directive} {kind.deltas} {kind.size}")))

    assert (len(text), crc32(text.encode())) == kind.text()


def test_growing_deltas_carry_the_whole_text_so_far_twice() -> None:
    lines = [line for line in written("@grow 3 5") if line["type"] == "message_update"]

    texts = [line["message"]["content"][0]["text"] for line in lines]  # type: ignore[index]
    partials = [line["assistantMessageEvent"]["partial"]["content"][0]["text"] for line in lines]  # type: ignore[index]
    assert texts == partials == ["01234", "0123401234", "012340123401234"]


def test_no_closing_line_is_longer_than_a_daemon_takes() -> None:
    flood = [piece for pieces in agent.turn('"1"', "@flood 1 5000000") for piece in pieces]

    assert max(map(len, flood[-1].split(b"\n"))) < 10_000


@given(st.text(), st.text(st.characters(codec="utf-8")))
def test_a_member_is_found_wherever_it_stands(id_: str, message: str) -> None:
    line = json.dumps({"type": "prompt", "message": message, "id": id_}, ensure_ascii=False)

    assert agent.value_of(line, "id") == id_
    assert agent.value_of(line, "message") == message
    assert agent.value_of(line, "type") == "prompt"
    assert agent.value_of(line, "provider") is None


@given(st.text(st.characters(codec="utf-8")))
def test_text_is_quoted_as_json_wants_it(text: str) -> None:
    assert json.loads(b'"' + agent.quoted(text) + b'"') == text
