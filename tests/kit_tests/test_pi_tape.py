"""The tape and the scrubber, with small programs in place of an agent; and real pi against its own recordings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.pi_bench import Bench
from tests.kit.pi_home import PI_NAMES, Missing, find_pi
from tests.kit.pi_scenarios import SCENARIOS
from tests.kit.pi_scrub import EPOCH_MS, SHORTENED, Scrubber
from tests.kit.pi_tape import PiTape
from tests.kit.record_pi import differs

ECHO = (
    'import sys\nfor line in sys.stdin.buffer: sys.stdout.buffer.write(b\'{"type":"got"}\\n\' + line + b"last"); break'
)
A, B = "01a1fbb0-7de5-7198-8642-0aae41234567", "01a1fbb0-8538-75b9-9b6c-810e61234567"


def tape(program: str, tmp_path: Path) -> PiTape:
    return PiTape([sys.executable, "-c", program], env=dict(os.environ), cwd=tmp_path)


def test_the_tape_has_both_directions_in_order_and_keeps_a_line_separator_inside_its_line(tmp_path: Path) -> None:
    with tape(ECHO, tmp_path) as running:
        running.send({"type": "hi", "text": "a\u2028b"})
        assert running.expect(type="hi")["text"] == "a\u2028b"
    assert [(line.sent, line.value["type"]) for line in running.lines] == [(True, "hi"), (False, "got"), (False, "hi")]
    assert running.returncode == 0


def test_an_agent_that_ends_too_early_is_an_error_that_shows_what_it_said(tmp_path: Path) -> None:
    program = 'import sys; print("{}", flush=True); sys.exit("no such model")'
    with tape(program, tmp_path) as running, pytest.raises(AssertionError, match=r"did not say(.|\n)*no such model"):
        running.expect(type="hello")
    assert running.returncode == 1


def test_what_is_no_json_is_kept_as_text(tmp_path: Path) -> None:
    with tape('print("oops"); print("{}")', tmp_path) as running:
        running.expect()
    assert [line.value for line in running.lines] == ["oops", {}]


def test_answers_are_found_in_any_order(tmp_path: Path) -> None:
    with tape("print('{\"id\": 2}'); print('{\"id\": 3}'); print('{\"id\": 1}')", tmp_path) as running:
        running.expect_all({"id": 1}, {"id": 2})
    assert len(running.lines) == 3


def test_ids_are_numbered_in_the_order_they_are_seen() -> None:
    scrub = Scrubber({})
    assert scrub.line({"id": B})["id"].endswith("001")
    assert scrub.line({"id": A})["id"].endswith("002")
    assert scrub.line({"other": f"about {B}"})["other"].endswith("001")


def test_times_ports_and_paths_are_replaced_and_keep_their_types() -> None:
    scrub = Scrubber({"/some/where": "/bench", "/some/where/agents": "/agents"})
    line = {"timestamp": 5, "at": "2026-11-21T01:20:42.827Z", "url": "http://127.0.0.1:4711/v1", "durationMs": 7}
    assert scrub.line(line) == {
        "timestamp": EPOCH_MS,
        "at": "2023-11-14T22:13:20.000Z",
        "url": "http://127.0.0.1:1/v1",
        "durationMs": 1,
    }
    assert scrub.line(["/some/where/agents/x", "/some/where/y"]) == ["/agents/x", "/bench/y"]


def test_the_system_prompt_is_shortened_wherever_it_lies() -> None:
    message = {"role": "system", "content": "long", "sections": {"docs": "long"}}
    assert Scrubber({}).line({"messages": [message]}) == {
        "messages": [{"role": "system", "content": SHORTENED, "sections": {"docs": SHORTENED}}]
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_scrubbing_what_is_scrubbed_changes_nothing(value: object) -> None:
    once = Scrubber({}).line(value)
    assert Scrubber({}).line(once) == once


@pytest.mark.real_agent
@pytest.mark.parametrize("name", PI_NAMES)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_real_pi_still_speaks_like_its_recording(name: str, scenario: Callable[[Bench], PiTape]) -> None:
    pi = find_pi(name)
    if isinstance(pi, Missing):
        pytest.skip(pi.reason)
    assert not differs(pi, scenario)
