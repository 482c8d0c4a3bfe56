"""pi's session file: an empty one, one in another folder, and how much of a file is whole."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskd.agents.base import AgentProfile
from taskd.agents.pi import Pi
from taskd.agents.registry import PROTOCOLS, protocol
from taskd.model.errors import Code, TaskdError
from tests.agents.pi_replay import OPENING

PI = Pi()
SEED = PI.seed(OPENING, "session-1", "2026-11-21T01:00:00Z")
ENTRY = b'{"type":"message","id":"a","parentId":null}\n'


def test_a_seed_is_a_header_and_nothing_else() -> None:
    assert SEED.endswith(b"\n")
    assert json.loads(SEED) == {
        "type": "session",
        "version": 3,
        "id": "session-1",
        "timestamp": "2026-11-21T01:00:00Z",
        "cwd": "/work",
    }


def test_another_folder_changes_the_header_alone() -> None:
    moved = PI.rebase(SEED + ENTRY, "/else/where")
    header, _, rest = moved.partition(b"\n")
    assert json.loads(header) == {**json.loads(SEED), "cwd": "/else/where"}
    assert rest == ENTRY


@pytest.mark.parametrize("native", [b"", b"garbage\n" + ENTRY, b"[]\n", ENTRY, b'{"type":"session","cwd":"/x"'])
def test_a_file_without_a_header_is_left_alone(native: bytes) -> None:
    assert PI.rebase(native, "/else") == native


@pytest.mark.parametrize(
    "tail",
    [
        b'{"type":"mess',
        ENTRY[:-1],
        b"\x00" * 50,
        b'{"type":"mess\n',
        b"\n",
        b"\n\n \n",
        b"[1]\n",
        b'{"type":"a"}{"type":"b"}\n',
        b'{"type":"m\xff"}\n',
        b"{\n" + b'"type":"message"}',
    ],
)
def test_a_torn_tail_is_not_whole(tail: bytes) -> None:
    native = SEED + ENTRY
    assert PI.whole_length(native + tail) == len(native)


def test_what_pi_left_in_the_middle_stays() -> None:
    native = SEED + b'{"type":"torn\n' + ENTRY
    assert PI.whole_length(native) == len(native)


@pytest.mark.parametrize("native", [b"", b"torn", b"not json\n"])
def test_a_file_without_a_whole_line_has_nothing_to_keep(native: bytes) -> None:
    assert PI.whole_length(native) == 0


def test_an_entry_with_half_of_a_surrogate_pair_is_whole_as_pi_reads_it() -> None:
    native = SEED + b'{"type":"message","x":"\\ud83d"}\r\n'
    assert PI.whole_length(native) == len(native)


@settings(deadline=None)
@given(st.integers(0, 200))
def test_any_prefix_of_a_session_is_whole_up_to_its_last_line(size: int) -> None:
    native = (SEED + ENTRY * 3)[:size]
    assert PI.whole_length(native) == native.rfind(b"\n") + 1


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_no_bytes_raise(native: bytes) -> None:
    length = PI.whole_length(native)
    assert length <= len(native)
    assert PI.whole_length(native[:length]) == length
    PI.rebase(native, "/else")


def test_pi_is_started_in_rpc_mode_on_the_session() -> None:
    launch = PI.launch(AgentProfile("pi", ("node", "cli.js")), OPENING)
    assert launch.argv == ("node", "cli.js", "--mode", "rpc", "--session", OPENING.native_session)
    assert launch.env == {}


def test_protocols_are_found_by_name() -> None:
    assert protocol("pi") is PROTOCOLS["pi"]
    with pytest.raises(TaskdError, match=r"no agent protocol 'nope'; there is: .*pi") as caught:
        protocol("nope")
    assert caught.value.code is Code.INVALID_PARAMS
