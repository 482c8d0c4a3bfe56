"""Logs: what a line looks like, what it never shows, and that writing one never waits."""

import json
import os
import subprocess
import sys

import msgspec
import pytest
import structlog

from taskd.edge.logs import ATOMIC_BYTES, Sink, set_up
from taskd.edge.redaction import MASK, is_secret_name, redact, redact_command


@pytest.fixture
def pipe():
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    yield readable, writable
    os.close(readable)
    os.close(writable)


@pytest.fixture(autouse=True)
def structlog_as_before():
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def _set_up(pipe, format: str = "json", level: str = "info") -> Sink:
    sink = Sink(pipe[1])
    set_up(format, level, sink, cache=False)
    return sink


def _lines(pipe) -> list[bytes]:
    data = b""
    while True:
        try:
            data += os.read(pipe[0], 1 << 20)
        except BlockingIOError:
            return data.split(b"\n")[:-1]


def _logged(pipe) -> list[dict[str, object]]:
    return [json.loads(line) for line in _lines(pipe)]


# Lines ---------------------------------------------------------------------------------------------------------------


def test_a_line_is_one_json_object_with_its_bound_context(pipe) -> None:
    _set_up(pipe)
    structlog.get_logger().bind(task="t1").info("turn ended", turns=3)
    (line,) = _logged(pipe)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line.pop("timestamp").endswith("Z")
    assert line == {"level": "info", "event": "turn ended", "task": "t1", "turns": 3}


def test_what_is_bound_to_the_context_is_in_every_line(pipe) -> None:
    _set_up(pipe)
    with structlog.contextvars.bound_contextvars(channel=7):
        structlog.get_logger().warning("slow")
    assert _logged(pipe)[0]["channel"] == 7


def test_a_line_end_in_a_value_does_not_make_a_second_line(pipe) -> None:
    _set_up(pipe)
    structlog.get_logger().info("a\nb", text="c\r\nd\u2028e")
    assert len(_lines(pipe)) == 1


def test_lines_below_the_level_are_not_written(pipe) -> None:
    _set_up(pipe, level="warning")
    log = structlog.get_logger()
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert [line["event"] for line in _logged(pipe)] == ["c", "d"]


def test_an_exception_is_logged_with_its_traceback(pipe) -> None:
    _set_up(pipe)
    try:
        raise ValueError("the cause")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = _logged(pipe)
    assert line["level"] == "error"
    assert line["exception"].endswith("ValueError: the cause")
    assert "Traceback" in line["exception"]


@pytest.mark.parametrize("value", ["\ud800", 1 << 70, {(1, 2): 3}, object(), {1, 2}, b"\xff", float("nan")])
def test_whatever_is_logged_the_one_who_logs_is_not_broken_by_it(pipe, value) -> None:
    _set_up(pipe)
    structlog.get_logger().info("odd", value=value)
    assert "odd" in str(_logged(pipe)[0]["event"])


def test_a_value_that_holds_itself_is_cut(pipe) -> None:
    _set_up(pipe)
    value: list[object] = []
    value.append(value)
    structlog.get_logger().info("odd", value=value)
    assert MASK in str(_logged(pipe)[0])


def test_the_console_form_is_for_eyes_and_has_no_colours_without_a_terminal(pipe) -> None:
    _set_up(pipe, format="console")
    structlog.get_logger().info("turn ended", task="t1", api_key="hunter2", text="\ud800")
    (line,) = _lines(pipe)
    assert b"turn ended" in line
    assert b"task=t1" in line
    assert b"hunter2" not in line
    assert b"\x1b[" not in line


def test_a_value_cannot_speak_to_the_terminal(pipe) -> None:
    _set_up(pipe, format="console")
    structlog.get_logger().info("agent said", text="\x1b]0;owned\x07", bad="a\nb")
    (line,) = _lines(pipe)
    assert b"\x1b" not in line
    assert b"owned" in line


def test_auto_is_json_for_a_pipe_and_coloured_on_a_terminal(pipe) -> None:
    _set_up(pipe, format="auto")
    structlog.get_logger().info("a")
    assert _logged(pipe)[0]["event"] == "a"
    ours, theirs = os.openpty()
    set_up("auto", "info", Sink(theirs), cache=False)
    structlog.get_logger().info("a")
    assert b"\x1b[" in os.read(ours, 1000)
    os.close(ours)
    os.close(theirs)


# Secrets -------------------------------------------------------------------------------------------------------------


def test_values_under_names_of_secrets_are_masked_at_any_depth(pipe) -> None:
    _set_up(pipe)
    env = {"OPENAI_API_KEY": "hunter2", "PLAIN": "shown", "list": [{"authToken": "hunter2"}]}
    structlog.get_logger().info("spawn", env=env, token="hunter2", Authorization="hunter2")
    (line,) = _lines(pipe)
    assert b"hunter2" not in line
    assert json.loads(line)["env"] == {"OPENAI_API_KEY": MASK, "PLAIN": "shown", "list": [{"authToken": MASK}]}


@pytest.mark.parametrize(
    "name",
    ["token", "TASKD_TOKEN", "accessToken", "api_key", "apiKey", "APIKEY", "x-api-key", "secret", "clientSecret",
     "password", "authorization", "Authorization", "cookie", "private_key", "credentials"],
)  # fmt: skip
def test_names_of_secrets_are_known_in_every_spelling(name) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["tokens", "total_tokens", "maxTokens", "token_file", "keyboard", "monkey", "task", "authored", "env_pass"]
)
def test_names_that_only_look_like_secrets_are_left_alone(name) -> None:
    assert not is_secret_name(name)


def test_redacting_changes_nothing_that_was_given() -> None:
    value = {"token": "a", "list": [{"key": "b"}]}
    assert redact(value) == {"token": MASK, "list": [{"key": MASK}]}
    assert value == {"token": "a", "list": [{"key": "b"}]}


def test_options_that_carry_secrets_are_masked_in_a_command() -> None:
    given = ["pi", "--api-key", "s1", "--token=s2", "KEY=s3", "--mode", "rpc", "key", "--max-tokens", "5"]
    shown = ["pi", "--api-key", MASK, f"--token={MASK}", f"KEY={MASK}", "--mode", "rpc", "key", "--max-tokens", "5"]
    assert redact_command(given) == shown


# Never waiting -------------------------------------------------------------------------------------------------------


def test_lines_that_do_not_fit_are_dropped_counted_and_told_of_later(pipe) -> None:
    sink = _set_up(pipe)
    log = structlog.get_logger()
    for number in range(5000):
        log.info("fill", number=number)
    assert sink.dropped > 0
    lost = sink.dropped
    kept = _logged(pipe)
    assert [line["number"] for line in kept] == list(range(len(kept))), "what was written is whole and in order"
    assert len(kept) + lost == 5000
    log.info("again")
    told, again = _logged(pipe)
    assert (told["lines"], again["event"]) == (lost, "again")
    assert sink.dropped == 0


def test_a_long_line_that_is_cut_does_not_spoil_the_next(pipe) -> None:
    sink = Sink(pipe[1])
    sink.write(b"x" * (1 << 20))
    assert sink.dropped == 1
    assert _lines(pipe) == [], "its end is missing, and with it the newline"
    sink.write(b"next")
    assert _lines(pipe)[-1] == b"next"


def test_a_long_line_that_fits_is_whole(pipe) -> None:
    Sink(pipe[1]).write(b"x" * (ATOMIC_BYTES * 3))
    assert _lines(pipe) == [b"x" * (ATOMIC_BYTES * 3)]


def test_a_log_that_nobody_can_read_any_more_is_borne() -> None:
    readable, writable = os.pipe()
    os.close(readable)
    sink = Sink(writable)
    sink.write(b"lost")
    os.close(writable)
    sink.write(b"lost too")
    assert sink.dropped == 2


# Start ---------------------------------------------------------------------------------------------------------------


def test_a_lean_import_of_the_log_loads_no_pretty_printer() -> None:
    code = """
import sys
from taskd.edge.diet import import_lean
import_lean()
import taskd.edge.logs
print([name for name in ("rich", "pygments") if name in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=True)
    assert done.stdout == b"[]\n"


def test_listening_loads_no_event_loop_and_no_third_party() -> None:
    heavy = ("asyncio", "anyio", "msgspec", "structlog", "tomllib", "dataclasses", "inspect", "subprocess", "ssl")
    code = f"""
import sys, taskd.edge.settings_sources, taskd.edge.transports.early
print([name for name in {heavy!r} if name in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=True)
    assert done.stdout == b"[]\n"


def test_the_notice_of_lost_lines_is_a_log_line_like_others(pipe) -> None:
    sink = Sink(pipe[1])
    sink.dropped = 3
    sink.write(b"{}")
    assert msgspec.json.decode(_lines(pipe)[0])["lines"] == 3
