"""P0 from the daemon's side, as the hosts of the replaced system read and write it."""

import json
from typing import Any

import msgspec
import pytest

from taskd.model import calls
from taskd.model.agent import Model
from taskd.model.errors import Code, TaskdError
from taskd.wire.envelope import Call, Fault, Stamped
from taskd.wire.piwork import COMMANDS, Piwork


def call(line: str) -> Call:
    [found] = Piwork().read(line.encode())
    assert isinstance(found, Call)
    return found


def command(name: str, payload: dict[str, Any]) -> Call:
    return call(json.dumps({"id": "req_1", "type": name, "payload": payload}))


def invalid(line: str) -> dict[str, Any]:
    [found] = Piwork().read(line.encode())
    assert isinstance(found, Fault)
    told: dict[str, Any] = json.loads(found.answer)
    assert told["ok"] is False
    assert set(told["error"]) == {"code", "message", "retryable", "details"}
    assert (told["error"]["code"], told["error"]["retryable"]) == ("INVALID_REQUEST", False)
    return told


def result(asked: Call, value: calls.Result | dict[str, Any]) -> Any:
    line = Piwork().answer(asked, value)
    assert line.endswith(b"\n")
    told = json.loads(line)
    assert {**told, "result": None} == {"id": "req_1", "ok": True, "result": None}
    return told["result"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[]", "Request must be an object"),
        ("1", "Request must be an object"),
        ("null", "Request must be an object"),
        ("1e999", "Request must be an object"),
        ("{}", "Request id is required"),
        ('{"id":"","type":"prompt","payload":{}}', "Request id is required"),
        ('{"id":"  ","type":"prompt","payload":{}}', "Request id is required"),
        ('{"id":1,"type":"prompt","payload":{}}', "Request id is required"),
        ('{"id":null,"type":"prompt","payload":{}}', "Request id is required"),
        ('{"id":"' + "x" * 257 + '","type":"prompt","payload":{}}', "Request id is longer than 256 characters"),
    ],
)
def test_a_request_without_a_usable_id_is_told_so_with_a_null_id(line: str, message: str) -> None:
    told = invalid(line)
    assert (told["id"], told["error"]["message"]) == (None, message)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id":"r"}', "Request type is required"),
        ('{"id":"r","type":" ","payload":{}}', "Request type is required"),
        ('{"id":"r","type":5,"payload":{}}', "Request type is required"),
        ('{"id":"r","type":"prompt"}', "Request payload must be an object"),
        ('{"id":"r","type":"prompt","payload":null}', "Request payload must be an object"),
        ('{"id":"r","type":"prompt","payload":[]}', "Request payload must be an object"),
        ('{"id":"r","type":"prompt","payload":"{}"}', "Request payload must be an object"),
        ('{"id":"r","type":"prompt","message":"old form"}', "Request payload must be an object"),
    ],
)
def test_a_request_with_an_id_is_told_what_is_wrong_under_that_id(line: str, message: str) -> None:
    told = invalid(line)
    assert (told["id"], told["error"]["message"]) == ("r", message)


@pytest.mark.parametrize("line", ["nonsense", "{", '{"id":"r","type":"prompt","payload":{}} x', "[" * 100_000])
def test_an_answer_to_what_is_no_json_has_no_id_at_all(line: str) -> None:
    assert set(invalid(line)) == {"ok", "error"}


def test_a_skipped_line_has_no_id_and_other_faults_of_the_channel_a_null_one() -> None:
    assert set(json.loads(Piwork().fault(None, TaskdError(Code.LINE_TOO_LONG, "long")))) == {"ok", "error"}
    assert json.loads(Piwork().fault(None, TaskdError(Code.OVERLOADED, "full")))["id"] is None
    assert json.loads(Piwork().fault("r", TaskdError(Code.PARSE_ERROR, "what")))["id"] == "r"


def test_the_last_of_a_repeated_field_counts() -> None:
    assert call('{"id":1,"id":"r","type":"a","type":"prompt","payload":[],"payload":{"x":1}}') == Call(
        "r", "prompt", msgspec.Raw(b'{"x":1}'), id_token=b'"r"'
    )


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("create_or_open_task", "create_or_open_task"),
        ("switch_task", "switch_task"),
        ("prompt", "prompt"),
        ("stop_task", "stop_task"),
        ("system_bash", "system_bash"),
        ("authenticate", "authenticate"),
        ("runtime_get_state", "get_state"),
        ("runtime_diag", "diag"),
        ("pi_get_available_models", "list_models"),
        ("pi_set_model", "set_model"),
        ("extension_ui_response", "answer"),
        ("get_state", "get_state"),
        ("abort", "abort"),
        ("steer", "steer"),
        ("follow_up", "follow_up"),
        ("ping", "ping"),
        (" prompt ", "prompt"),
        ("no_such_command", "no_such_command"),
    ],
)
def test_commands_have_their_native_method(name: str, method: str) -> None:
    asked = command(name, {"taskId": "t"})
    assert (asked.id, asked.method, asked.wants_answer) == ("req_1", method, True)
    assert json.loads(bytes(asked.params)) == {"taskId": "t"}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"id": "ui_1", "value": "yes"}, {"requestId": "ui_1", "value": "yes"}),
        ({"id": "ui_1", "confirmed": False}, {"requestId": "ui_1", "confirmed": False}),
        ({"id": "ui_1", "cancelled": True}, {"requestId": "ui_1", "cancelled": True}),
        ({"id": "ui_1", "answer": "continue"}, {"requestId": "ui_1", "value": "continue"}),
        ({"id": "ui_1", "answer": "a", "value": "b"}, {"requestId": "ui_1", "value": "b"}),
        ({"requestId": "ui_1", "value": ""}, {"requestId": "ui_1", "value": ""}),
        ({}, {}),
    ],
)
def test_an_answer_to_an_agents_question_is_taken_in_pis_form(
    payload: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert json.loads(bytes(command("extension_ui_response", payload).params)) == expected


def test_models_are_listed_with_a_name_each() -> None:
    models = calls.ModelsResult(models=(Model("anthropic", "claude"), Model("openai", "gpt", "GPT", 128_000)))
    assert result(command("pi_get_available_models", {}), models) == {
        "models": [
            {"provider": "anthropic", "id": "claude", "name": "claude"},
            {"provider": "openai", "id": "gpt", "name": "GPT", "contextWindow": 128_000},
        ]
    }


def test_a_set_model_is_told_in_three_fields() -> None:
    model = calls.SetModelResult(id="gpt", name="", provider="openai", task_id="t")
    assert result(command("pi_set_model", {"provider": "openai", "modelId": "gpt"}), model) == {
        "id": "gpt",
        "name": "gpt",
        "provider": "openai",
    }


def test_an_answered_question_is_told_with_nothing() -> None:
    done = calls.AnswerResult(answered=True, task_id="t", request_id="ui_1")
    assert result(command("extension_ui_response", {"id": "ui_1"}), done) == {}


def test_native_names_have_native_results() -> None:
    done = calls.AnswerResult(answered=True, task_id="t", request_id="ui_1")
    assert result(command("answer", {"requestId": "ui_1"}), done) == {
        "answered": True,
        "taskId": "t",
        "requestId": "ui_1",
    }


def test_a_bash_result_has_the_fields_that_hosts_read() -> None:
    bash = calls.BashResult(output="x\n", exit_code=0, timed_out=False, truncated=False, dropped_bytes=0, cwd="/w")
    told = result(command("system_bash", {"command": "pwd"}), bash)
    assert {"output": "x\n", "exitCode": 0, "timedOut": False, "cwd": "/w"}.items() <= told.items()


def test_every_table_entry_names_a_method_of_its_own() -> None:
    methods = [entry.method for entry in COMMANDS.values()]
    assert len(set(methods)) == len(methods)
    assert not {name for name, entry in COMMANDS.items() if name != entry.method and name in methods}


@pytest.mark.parametrize("code", list(Code))
def test_errors_show_the_codes_that_hosts_know(code: Code) -> None:
    error = TaskdError(code, "because", details={"a": 1}, retryable=True)
    told = json.loads(Piwork().refuse(command("prompt", {}), error))
    shown = "INVALID_REQUEST" if code in ("PARSE_ERROR", "METHOD_NOT_FOUND", "INVALID_PARAMS") else code.value
    assert told == {
        "id": "req_1",
        "ok": False,
        "error": {"code": shown, "message": "because", "retryable": True, "details": {"a": 1}},
    }


def test_an_event_has_five_fields_in_this_order_and_no_number() -> None:
    line = Piwork().event(Stamped(7, "2026-02-05T23:00:00.000Z", "task_abc123", "task_ready", b'{"incarnation":1}'))
    assert line == (
        b'{"type":"event","event":"task_ready","timestamp":"2026-02-05T23:00:00.000Z",'
        b'"taskId":"task_abc123","payload":{"incarnation":1}}\n'
    )


def test_an_event_of_no_task_has_a_null_task() -> None:
    told = json.loads(Piwork().event(Stamped(7, "2026-02-05T23:00:00.000Z", None, "driver_changed", b"{}")))
    assert (told["taskId"], told["payload"]) == (None, {})


def test_hosts_of_p0_expect_raw_lines_and_the_stop_event_first() -> None:
    assert (Piwork.raw_lines, Piwork.stop_event_first, Piwork.idempotency_scope) == (True, True, "p0")


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"event","event":"task_ready"}',
        b'{"type":"agent_start","ok":true,"id":"1"}',
        b'{"type":"agent_start","type":"event"}',
        rb'{"type":"agent_start","\u006fk":true}',
        rb'{"\u0074ype":"\u0065vent"}',
        b'{"type":"x",\r"y":1}',
        b'["ok"]',
        b'{"ok":',
    ],
)
def test_a_line_of_an_agent_that_could_be_ours_is_not_repeated(line: bytes) -> None:
    assert Piwork().raw([b"{}", line, b'{"a":1}']) == b'{}\n{"a":1}\n'
    assert Piwork().raw([line]) == b""


@pytest.mark.parametrize(
    "line", [b'{"type":"agent_start"}', b'{"delta":"\\"ok\\" event"}', b'{"type":"x","y":{"ok":1}}']
)
def test_other_lines_are_repeated_as_they_are(line: bytes) -> None:
    assert Piwork().raw([line, line]) == line + b"\n" + line + b"\n"


def test_the_tasks_own_folder_is_null_here_and_empty_there() -> None:
    def folder(**payload: object) -> dict[str, object]:
        (call,) = Piwork().read(json.dumps({"id": "1", "type": "create_or_open_task", "payload": payload}).encode())
        assert isinstance(call, Call)
        asked: dict[str, object] = json.loads(bytes(call.params))
        return asked

    assert folder(workingFolder=None, workingFolderRelative=None)["workingFolder"] == ""
    assert folder(workingFolderRelative=None)["workingFolder"] == ""
    assert folder(workingFolder=None) == {"workingFolder": None}
    assert folder(workingFolder="/a", workingFolderRelative="b") == {
        "workingFolder": "/a",
        "workingFolderRelative": "b",
    }
