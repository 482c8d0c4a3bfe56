"""JSON-RPC 2.0 from the daemon's side: ids, params, batches and what is no request."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.model.errors import ERRORS, Code, TaskdError
from taskd.model.ids import MAX_OPAQUE_ID_LENGTH
from taskd.wire.envelope import Call, Fault
from taskd.wire.jsonrpc import MAX_BATCH_CALLS, JsonRpc


def call(line: bytes | str, dialect: JsonRpc | None = None) -> Call:
    [found] = (dialect or JsonRpc()).read(line.encode() if isinstance(line, str) else line)
    assert isinstance(found, Call)
    return found


def fault(line: bytes | str) -> Any:
    [found] = JsonRpc().read(line.encode() if isinstance(line, str) else line)
    assert isinstance(found, Fault)
    assert found.answer.endswith(b"\n")
    assert found.answer.count(b"\n") == 1
    return json.loads(found.answer)


def request(id: str = "1", params: str = "{}") -> str:
    return f'{{"jsonrpc":"2.0","id":{id},"method":"ping","params":{params}}}'


@pytest.mark.parametrize(
    ("token", "value"),
    [
        ("1", 1),
        ("1.0", 1.0),
        ('"1"', "1"),
        ("null", None),
        ("-0", 0),
        ("1.50", 1.5),
        ("1e2", 100.0),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ('""', ""),
        ('"\\u0000"', "\0"),
        ('"\u2028"', "\u2028"),
    ],
)
def test_an_id_comes_back_as_it_was_written(token: str, value: object) -> None:
    dialect = JsonRpc()
    asked = call(request(token), dialect)
    assert asked.id == value
    assert type(asked.id) is type(value)
    assert asked.wants_answer
    echoed = dialect.answer(asked, {}).decode()
    assert echoed == f'{{"jsonrpc":"2.0","id":{token},"result":{{}}}}\n'


@pytest.mark.parametrize("token", ["true", "false", "[]", "[1]", "{}", '{"a":1}', "1e999", "9" * 5000])
def test_an_id_of_another_kind_is_refused(token: str) -> None:
    told = fault(request(token))
    assert told["id"] is None
    assert told["error"]["code"] == -32600
    assert told["error"]["message"] == "id must be a string, a number or null"


@pytest.mark.parametrize("token", ["9" * 257, '"' + "x" * 257 + '"', "0." + "1" * 300])
def test_an_id_that_is_too_long_is_refused(token: str) -> None:
    assert fault(request(token))["error"]["message"] == f"id is longer than {MAX_OPAQUE_ID_LENGTH} characters"


def test_the_longest_id_counts_characters_and_not_bytes() -> None:
    assert call(request(json.dumps("\U0001f600" * MAX_OPAQUE_ID_LENGTH))).id == "\U0001f600" * MAX_OPAQUE_ID_LENGTH


@pytest.mark.parametrize("params", ["", ',"params":null', ',"params":{}', ',"params": {} '])
def test_missing_params_are_empty_params(params: str) -> None:
    assert bytes(call(f'{{"jsonrpc":"2.0","id":1,"method":"ping"{params}}}').params) == b"{}"


def test_params_are_handed_on_as_they_are() -> None:
    asked = call(request(params='{"b": 1.0, "a": [1, "\\u0000"], "a": 2}'))
    assert bytes(asked.params) == b'{"b": 1.0, "a": [1, "\\u0000"], "a": 2}'


def test_params_by_position_are_refused_as_params() -> None:
    told = fault(request("7", "[1,2]"))
    assert (told["id"], told["error"]["code"]) == (7, -32602)
    assert told["error"]["data"] == {"code": "INVALID_PARAMS", "retryable": False, "details": {}}


@pytest.mark.parametrize("params", ["1", '"a"', "true"])
def test_params_that_are_neither_object_nor_array_make_no_request(params: str) -> None:
    told = fault(request("7", params))
    assert (told["id"], told["error"]["code"]) == (7, -32600)


def test_a_notification_is_a_call_that_nobody_answers() -> None:
    dialect = JsonRpc()
    asked = call('{"jsonrpc":"2.0","method":"ping"}', dialect)
    assert not asked.wants_answer
    assert dialect.answer(asked, {}) == b""
    assert dialect.refuse(asked, TaskdError(Code.TASK_NOT_FOUND, "no")) == b""


def test_a_notification_with_params_by_position_is_nothing() -> None:
    assert JsonRpc().read(b'{"jsonrpc":"2.0","method":"ping","params":[1]}') == []


@pytest.mark.parametrize(
    ("line", "id"),
    [
        ("{}", None),
        ("[]", None),
        ("1", None),
        ('"text"', None),
        ("null", None),
        ("1e999", None),
        ('{"id":1,"method":"ping"}', 1),
        ('{"jsonrpc":"1.0","id":1,"method":"ping"}', 1),
        ('{"jsonrpc":2.0,"id":1,"method":"ping"}', 1),
        ('{"jsonrpc":"2.0","id":"x"}', "x"),
        ('{"jsonrpc":"2.0","id":"x","method":1}', "x"),
        ('{"jsonrpc":"2.0","id":1.5,"method":null}', 1.5),
        ('{"jsonrpc":"2.0","id":[],"method":1}', None),
        ('{"jsonrpc":"2.0","id":"' + "x" * 300 + '","method":1}', None),
        ('{"jsonrpc":"2.0","method":1,"params":"bar"}', None),
        ('{"jsonrpc":"2.0","method":"ping","params":"bar"}', None),
        ('{"jsonrpc":"2.0","id":3,"result":{}}', 3),
    ],
)
def test_what_is_no_request_is_refused_with_its_id_where_it_has_one(line: str, id: object) -> None:
    told = fault(line)
    assert told["jsonrpc"] == "2.0"
    assert told["id"] == id
    assert told["error"]["code"] == -32600
    assert told["error"]["data"]["code"] == "INVALID_REQUEST"


def test_the_last_of_a_repeated_key_counts_also_where_the_first_is_of_the_wrong_type() -> None:
    assert call('{"jsonrpc":"2.0","id":true,"id":1,"method":2,"method":"ping"}').method == "ping"
    assert fault('{"jsonrpc":"2.0","id":1,"id":true,"method":"ping"}')["id"] is None


def test_members_that_are_not_known_do_not_matter() -> None:
    assert call('{"trace":[1],"jsonrpc":"2.0","id":1,"method":"ping"}').method == "ping"


# Batches ------------------------------------------------------------------------------------------------------------


def test_a_batch_is_answered_in_one_line_when_the_last_answer_is_there() -> None:
    dialect = JsonRpc()
    first, told, second = dialect.read(
        b'[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","method":"b"},{"jsonrpc":"2.0","id":1.0,"method":"c"}]'
    )
    assert isinstance(first, Call)
    assert isinstance(told, Call)
    assert isinstance(second, Call)
    assert [first.wants_answer, told.wants_answer, second.wants_answer] == [True, False, True]
    assert dialect.refuse(second, TaskdError(Code.TASK_NOT_FOUND, "no")) == b""
    assert dialect.answer(told, {}) == b""
    answers = dialect.answer(first, {"x": 1})
    assert answers.endswith(b"\n")
    assert [(a["id"], "result" in a) for a in json.loads(answers)] == [(1.0, False), (1, True)]
    assert b'"id":1.0,' in answers


def test_batches_of_one_channel_do_not_mix() -> None:
    dialect = JsonRpc()
    [first] = dialect.read(f"[{request('1')}]".encode())
    [second] = dialect.read(f"[{request('2')}]".encode())
    assert isinstance(first, Call)
    assert isinstance(second, Call)
    assert json.loads(dialect.answer(second, {})) == [{"jsonrpc": "2.0", "id": 2, "result": {}}]
    assert json.loads(dialect.answer(first, {})) == [{"jsonrpc": "2.0", "id": 1, "result": {}}]


def test_an_empty_batch_is_no_request() -> None:
    assert fault(" [ ] ")["error"]["code"] == -32600


def test_a_batch_of_notifications_is_not_answered() -> None:
    dialect = JsonRpc()
    line = b'[{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","method":"b","params":[]}]'
    [only] = dialect.read(line)
    assert isinstance(only, Call)
    assert dialect.answer(only, {}) == b""


def test_a_batch_of_nonsense_is_answered_at_once_entry_by_entry() -> None:
    told = fault('[1, {"foo":"boo"}, [], 1e999, {"jsonrpc":"2.0","id":5,"method":"a","params":[]}]')
    assert [(entry["id"], entry["error"]["code"]) for entry in told] == [
        (None, -32600),
        (None, -32600),
        (None, -32600),
        (None, -32600),
        (5, -32602),
    ]


def test_nonsense_in_a_batch_is_told_with_the_answers() -> None:
    dialect = JsonRpc()
    [asked] = dialect.read(f"[{request('1')},2]".encode())
    assert isinstance(asked, Call)
    assert [entry["id"] for entry in json.loads(dialect.answer(asked, {}))] == [None, 1]


def test_a_batch_that_is_torn_is_a_parse_error_and_has_no_effect() -> None:
    told = fault('[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc"')
    assert (told["id"], told["error"]["code"]) == (None, -32700)


def test_a_batch_has_a_bound() -> None:
    full = ",".join([request()] * MAX_BATCH_CALLS)
    assert len(JsonRpc().read(f"[{full}]".encode())) == MAX_BATCH_CALLS
    assert fault(f"[{full},1]")["error"]["code"] == -32600


def test_an_answered_batch_leaves_nothing_behind() -> None:
    dialect = JsonRpc()
    for _ in range(10):
        for asked in dialect.read(f"[{request('1')},{request('2')},{request('3')}]".encode()):
            assert isinstance(asked, Call)
            dialect.answer(asked, {})
    assert dialect._batches == {}


# Against a plain model ----------------------------------------------------------------------------------------------

MEMBER = st.sampled_from(
    [
        "1",
        '"a"',
        "null",
        "true",
        "1.5",
        "[]",
        "{}",
        '{"x":[1]}',
        '"2.0"',
        "2.0",
        '"ping"',
        "1e999",
        '"\\ud800"',
    ]
)
OBJECT = st.lists(st.tuples(st.sampled_from(["jsonrpc", "id", "method", "params", "other"]), MEMBER), max_size=7).map(
    lambda members: "{" + ",".join(f'"{name}":{value}' for name, value in members) + "}"
)


def plain_kind(entry: Any) -> str:
    """Say what the standard and our narrowings make of one entry."""
    if not isinstance(entry, dict) or entry.get("jsonrpc") != "2.0" or not isinstance(entry.get("method"), str):
        return "invalid"
    if "id" in entry:
        id = entry["id"]
        if isinstance(id, bool | list | dict) or id == float("inf"):
            return "invalid"
    params = entry.get("params")
    if isinstance(params, list):
        return "refused" if "id" in entry else "nothing"
    if params is not None and not isinstance(params, dict):
        return "invalid"
    return "call" if "id" in entry else "notification"


def our_kind(line: str) -> str:
    found = JsonRpc().read(line.encode())
    if not found:
        return "nothing"
    [one] = found
    if isinstance(one, Call):
        return "call" if one.wants_answer else "notification"
    code = json.loads(one.answer)["error"]["code"]
    return {-32600: "invalid", -32602: "refused"}[code]


@given(OBJECT)
def test_requests_are_told_from_other_objects_as_a_plain_reading_of_the_standard_does(line: str) -> None:
    assert our_kind(line) == plain_kind(json.loads(line))


@given(OBJECT, OBJECT)
def test_an_entry_of_a_batch_is_judged_like_a_line_of_its_own(one: str, other: str) -> None:
    kinds = [our_kind(one), our_kind(other)]
    dialect = JsonRpc()
    found = dialect.read(f"[{one}, {other}]".encode())
    calls = [asked for asked in found if isinstance(asked, Call)]
    assert ["call" if asked.wants_answer else "notification" for asked in calls] == [
        kind for kind in kinds if kind in ("call", "notification")
    ]
    lines = [asked.answer for asked in found if isinstance(asked, Fault)]
    lines += [line for asked in calls if (line := dialect.answer(asked, {}))]
    answers = [answer for line in lines for answer in json.loads(line)]
    assert len(lines) <= 1
    assert len(answers) == sum(kind in ("call", "invalid", "refused") for kind in kinds)


@pytest.mark.parametrize("code", list(Code))
def test_every_error_has_its_number_and_its_data(code: Code) -> None:
    dialect = JsonRpc()
    error = TaskdError(code, "because", details={"field": "x"})
    told = json.loads(dialect.refuse(call(request("4"), dialect), error))
    assert told == {
        "jsonrpc": "2.0",
        "id": 4,
        "error": {
            "code": ERRORS[code].number,
            "message": "because",
            "data": {"code": code.value, "retryable": ERRORS[code].retryable, "details": {"field": "x"}},
        },
    }
