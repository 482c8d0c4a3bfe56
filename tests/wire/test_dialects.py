"""What every dialect must do, host's end against daemon's end, by one fixture; and choosing between them."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.model import calls
from taskd.model.errors import Code, TaskdError
from taskd.model.events import EVENTS, AgentOutput, TaskSwitchStarted
from taskd.model.ids import MAX_OPAQUE_ID_LENGTH
from taskd.wire.dialect import Dialect
from taskd.wire.envelope import Call, Fault, Stamped
from taskd.wire.host import Answered, Garbled, RawAgentLine, Refused, Told, Tongue
from taskd.wire.jsonline import encode
from taskd.wire.registry import DIALECTS, TONGUES, choose, recognise

AT = "2026-02-05T23:00:00.000Z"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TEXT = st.text(max_size=20)
PIECE = st.sampled_from(
    [
        b'{"jsonrpc":"2.0"',
        b'"id":',
        b'"type":"event"',
        b'"type":"prompt"',
        b'"event":"agent_end"',
        b'"payload":{}',
        b'"method":"prompt"',
        b'"params":{"seq":1}',
        b'"ok":true',
        b'"ok":false',
        b'"error":{"code":1}',
        b'"result":',
        b",",
        b"1",
        b"null",
        b"[",
        b"]",
        b"{",
        b"}",
        b'"\\ud800"',
        b'"\xff"',
        b"1e999",
    ]
)
ALMOST = st.lists(PIECE | st.binary(max_size=3), max_size=12).map(b"".join)


class Ends(NamedTuple):
    """Both ends of one channel."""

    daemon: Dialect
    host: Tongue

    def asked(self, id: str, method: str, params: Any) -> Call:
        line = self.host.ask(id, method, params)
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        [found] = self.daemon.read(line[:-1])
        assert isinstance(found, Call)
        return found

    def heard(self, line: bytes) -> Any:
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        [found] = self.host.hear(line[:-1])
        return found


@pytest.fixture(params=sorted(DIALECTS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ends(name: str) -> Ends:
    return Ends(DIALECTS[name](), TONGUES[name]())


def test_both_ends_have_the_same_dialects() -> None:
    assert DIALECTS.keys() == TONGUES.keys()


def test_each_end_knows_its_name(name: str, ends: Ends) -> None:
    assert ends.daemon.name == ends.host.name == name


@pytest.mark.parametrize("end", sorted(DIALECTS))
@given(id=st.text(min_size=1, max_size=MAX_OPAQUE_ID_LENGTH).filter(str.strip), method=TEXT, params=st.data())
def test_what_a_host_asks_is_what_the_daemon_reads(end: str, id: str, method: str, params: st.DataObject) -> None:
    ends = Ends(DIALECTS[end](), TONGUES[end]())
    given_params = params.draw(st.dictionaries(TEXT, JSON, max_size=4))
    name = method.strip() or "prompt"
    asked = ends.asked(id, name, given_params)
    assert (asked.id, asked.method, asked.wants_answer) == (id, name, True)
    assert msgspec.json.decode(asked.params) == msgspec.json.decode(encode(given_params))
    assert ends.heard(ends.daemon.answer(asked, {"a": 1})) == Answered(id, msgspec.Raw(b'{"a":1}'))


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("get_state", calls.Empty()),
        ("list_models", calls.ListModels()),
        ("set_model", calls.SetModel(provider="anthropic", model="claude")),
        ("answer", calls.Answer(request_id="ui_1", confirmed=True)),
        ("prompt", calls.Prompt(message="\u2028 caf\u00e9 \0 \n")),
        ("create_or_open_task", calls.CreateOrOpenTask(task_id="t", working_folder_relative="a/b")),
    ],
)
def test_params_structs_arrive_as_they_were(ends: Ends, method: str, params: calls.Params) -> None:
    asked = ends.asked("r1", method, params)
    assert asked.method == method
    assert msgspec.json.decode(asked.params, type=type(params)) == params


def test_params_may_be_left_out_by_a_host(ends: Ends) -> None:
    [found] = ends.daemon.read(ends.host.ask("r1", "ping")[:-1])
    assert isinstance(found, Call)
    assert bytes(found.params) == b"{}"


@pytest.mark.parametrize("code", [Code.TASK_NOT_READY, Code.INTERNAL_ERROR, Code.SWITCH_TIMEOUT])
def test_a_refusal_arrives_with_all_it_says(ends: Ends, code: Code) -> None:
    error = TaskdError(code, "no \u2028 \n", details={"state": "creating", "n": [1]})
    told = ends.heard(ends.daemon.refuse(ends.asked("r1", "prompt", {}), error))
    assert told == Refused("r1", code.value, "no \u2028 \n", error.retryable, {"state": "creating", "n": [1]})


def test_a_fault_arrives_as_a_refusal_of_nothing(ends: Ends) -> None:
    told = ends.heard(ends.daemon.fault(None, TaskdError(Code.LINE_TOO_LONG, "too long", details={"limit": 1})))
    assert told == Refused(None, "LINE_TOO_LONG", "too long", False, {"limit": 1})


def test_a_fault_may_have_an_id(ends: Ends) -> None:
    told = ends.heard(ends.daemon.fault("r9", TaskdError(Code.UNAUTHENTICATED, "show a token")))
    assert (told.id, told.code) == ("r9", "UNAUTHENTICATED")


def test_a_result_with_a_name_that_is_not_utf8_arrives(ends: Ends) -> None:
    answer = ends.heard(ends.daemon.answer(ends.asked("r1", "ping", {}), {"cwd": "/caf\udce9"}))
    assert msgspec.json.decode(answer.result) == {"cwd": "/caf\ufffd"}
    refused = ends.heard(ends.daemon.refuse(ends.asked("r2", "ping", {}), TaskdError(Code.FORBIDDEN, "/caf\udce9")))
    assert refused.message == "/caf\ufffd"


def test_every_event_arrives(name: str, ends: Ends) -> None:
    event = AgentOutput(chunk="a\u2028b\n\0", kind="thinking")
    told = ends.heard(ends.daemon.event(Stamped(12, AT, "task-1", event.name, encode(event))))
    number = 12 if name == "jsonrpc" else None
    assert (told.name, told.seq, told.at, told.task_id) == ("agent_output", number, AT, "task-1")
    assert told.event() == event
    assert told.fields() == {"chunk": "a\u2028b\n\0", "kind": "thinking"}


def test_an_event_without_fields_arrives(ends: Ends) -> None:
    told = ends.heard(ends.daemon.event(Stamped(1, AT, "t", "task_switch_started", b"{}")))
    assert told.fields() == {}
    assert told.event() == TaskSwitchStarted()


def test_an_event_of_no_task_and_of_an_unknown_name_arrives(ends: Ends) -> None:
    told = ends.heard(ends.daemon.event(Stamped(1, AT, None, 'from "later"', b'{"x":[1,{"y":2}]}')))
    assert (told.name, told.task_id) == ('from "later"', None)
    assert told.fields() == {"x": [1, {"y": 2}]}
    assert told.event() is None


def test_no_event_has_a_field_that_its_stamp_would_hide() -> None:
    for kind in EVENTS.values():
        assert not {"seq", "at", "taskId"} & set(kind.__struct_encode_fields__), kind


@pytest.mark.parametrize("end", sorted(DIALECTS))
@given(body=st.dictionaries(st.text(max_size=5).filter(lambda name: name not in ("seq", "at", "taskId")), JSON))
def test_an_event_is_put_together_without_touching_its_body(end: str, body: dict[str, Any]) -> None:
    ends = Ends(DIALECTS[end](), TONGUES[end]())
    told = ends.heard(ends.daemon.event(Stamped(3, AT, "t", "x", encode(body))))
    assert told.fields() == msgspec.json.decode(encode(body))


@pytest.mark.parametrize("line", [b"", b" ", b"\t\r"])
def test_a_blank_line_is_nothing_on_either_end(ends: Ends, line: bytes) -> None:
    assert ends.daemon.read(line) == []
    assert ends.host.hear(line) == []


@pytest.mark.parametrize("line", [b"nonsense", b"{", b'{"a":"\xff"}', b"[" * 100_000, b"\xef\xbb\xbf{}", b'{"a":NaN}'])
def test_what_is_no_json_is_told_to_the_host(ends: Ends, line: bytes) -> None:
    [found] = ends.daemon.read(line)
    assert isinstance(found, Fault)
    told = ends.heard(found.answer)
    assert isinstance(told, Refused)
    assert told.id is None
    assert told.code == ("INVALID_REQUEST" if ends.daemon.name == "p0" else "PARSE_ERROR")
    [heard] = ends.host.hear(line)
    assert isinstance(heard, Garbled)
    assert heard.line == line


def test_half_an_emoji_does_not_lose_a_prompt(ends: Ends) -> None:
    line = ends.host.ask("r1", "prompt", {"message": "HALF"})[:-1].replace(b"HALF", rb"\ud83d")
    [found] = ends.daemon.read(line)
    assert isinstance(found, Call)
    assert msgspec.json.decode(found.params) == {"message": "\ufffd"}


@pytest.mark.parametrize("end", sorted(DIALECTS))
@given(line=ALMOST | st.binary(max_size=60))
def test_no_bytes_make_either_end_raise(end: str, line: bytes) -> None:
    daemon = DIALECTS[end]()
    for found in daemon.read(line):
        answer = found.answer if isinstance(found, Fault) else daemon.refuse(found, TaskdError(Code.FORBIDDEN, "no"))
        *lines, rest = answer.split(b"\n")
        assert rest == b""
        assert all(isinstance(json.loads(one), dict | list) for one in lines)
    for heard in TONGUES[end]().hear(line):
        assert isinstance(heard, Answered | Refused | Told | RawAgentLine | Garbled)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"jsonrpc":"2.0","id":1,"method":"ping"}', "jsonrpc"),
        (b' [{"jsonrpc":"2.0","id":1,"method":"ping"}]', "jsonrpc"),
        (b"[]", "jsonrpc"),
        (b'{"jsonrpc":"1.0","type":"x"}', "jsonrpc"),
        (b'{"id":"r","type":"ping","payload":{}}', "p0"),
        (b'{"id":"r","payload":{}}', "p0"),
        (b'{"type":5}', "p0"),
        (rb'{"id":"r","type":"prompt","payload":{"message":"\ud83d"}}', "p0"),
        (b'{"id":1,"method":"ping"}', None),
        (b"{}", None),
        (b"5", None),
        (b"GET / HTTP/1.1", None),
        (b"", None),
        (b"[" * 100_000, None),
    ],
)
def test_the_first_line_says_which_dialect_a_channel_speaks(line: bytes, expected: str | None) -> None:
    assert recognise(line) == expected
    assert choose(line).name == (expected or "jsonrpc")


def test_each_channel_has_a_tongue_of_its_own() -> None:
    line = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    assert choose(line) is not choose(line)


# The host's end alone -----------------------------------------------------------------------------------------------


def hear(name: str) -> Callable[[bytes], list[Any]]:
    return TONGUES[name]().hear


@pytest.mark.parametrize(
    ("line", "code", "details"),
    [
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}', "METHOD_NOT_FOUND", {}),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no","data":"why"}}', "METHOD_NOT_FOUND", {}),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no","data":null}}', "-1", {}),
        (
            b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no","data":{"code":"NEW","details":{"a":1}}}}',
            "NEW",
            {"a": 1},
        ),
    ],
)
def test_errors_of_other_daemons_are_heard_as_far_as_they_go(line: bytes, code: str, details: dict[str, Any]) -> None:
    assert hear("jsonrpc")(line) == [Refused(1, code, "no", False, details)]


def test_the_answers_of_a_batch_are_heard_one_by_one() -> None:
    line = (
        b' [{"jsonrpc":"2.0","id":"a","result":null},{"jsonrpc":"2.0","id":"b","error":{"code":-32001,"message":"m"}}]'
    )
    assert hear("jsonrpc")(line) == [
        Answered("a", msgspec.Raw(b"null")),
        Refused("b", "TASK_NOT_FOUND", "m", False, {}),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"5",
        b"{}",
        b'{"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"2.0","id":[],"result":1}',
        b'{"jsonrpc":"2.0","id":1,"error":"text"}',
        b'{"jsonrpc":"2.0","method":"agent_end","params":{"seq":"one"}}',
        b'{"jsonrpc":"2.0","method":"agent_end","params":[1]}',
        b'[{"jsonrpc":"2.0","method":5}]',
        b'[5, "',
        b'{"id":true, "',
    ],
)
def test_what_is_no_message_of_json_rpc_is_garbled(line: bytes) -> None:
    [heard] = hear("jsonrpc")(line)
    assert isinstance(heard, Garbled)
    assert heard.line == line
    assert heard.reason


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"message_update","assistantMessageEvent":{"type":"text_delta","delta":"x"}}',
        b'{"type":"response","id":"c1","command":"prompt","success":false,"error":"busy"}',
        b'{"type":"agent_end","messages":[],"ok":true}',
        b'{"type":"event","event":5}',
        b'{"type":"event"}',
        b'{"type":5,"ok":"yes"}',
        b"{}",
    ],
)
def test_other_objects_on_a_p0_channel_are_the_agents(line: bytes) -> None:
    assert hear("p0")(line) == [RawAgentLine(line)]


def test_a_p0_answer_without_its_parts_is_heard_all_the_same() -> None:
    assert hear("p0")(b'{"id":"r","ok":true}') == [Answered("r", msgspec.Raw(b"{}"))]
    assert hear("p0")(b'{"id":"r","ok":false}') == [Refused("r", "INTERNAL_ERROR", "", False, {})]
    [heard] = hear("p0")(b'{"id":"r","ok":false,"error":"text"}')
    assert (heard.id, heard.code) == ("r", "INTERNAL_ERROR")
    assert "malformed" in heard.message


def test_p0_hosts_call_commands_by_the_names_of_the_replaced_system() -> None:
    tongue = TONGUES["p0"]()
    assert json.loads(tongue.ask("r", "get_state")) == {"id": "r", "type": "runtime_get_state", "payload": {}}
    assert json.loads(tongue.ask("r", "answer", {"requestId": "ui", "value": "x"})) == {
        "id": "r",
        "type": "extension_ui_response",
        "payload": {"id": "ui", "value": "x"},
    }
