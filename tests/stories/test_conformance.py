"""The conversations of `spec/transcripts` against the real daemon, and against one that does not keep the contract."""

import json
import sys
import threading

import pytest

from host_client.conformance import Report, TranscriptError, Verdict, load, run
from host_client.conformance.transcript import read
from tests.kit.daemon import Daemon
from tests.kit.wrong_daemon import WrongDaemon

TOPICS = {
    "abort",
    "dialect-choice",
    "driver",
    "errors",
    "hello",
    "idempotency",
    "models",
    "open-prompt-end",
    "oversized-line",
    "question",
    "question-aborted",
    "recover",
    "resume",
    "state-fields",
    "stop-order",
    "switch-order",
    "switch-to-active",
    "system-bash",
    "task-ids",
    "tool",
    "working-folders",
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conformance")
    flags = ("--token-file", str(folder / "token"))
    with Daemon(folder, listen=("tcp:127.0.0.1:0",), flags=flags) as running:
        yield running


def test_every_topic_is_told_in_both_dialects():
    told = {(transcript.name, transcript.header.dialect) for transcript in load()}

    assert told == {(topic, dialect) for topic in TOPICS for dialect in ("jsonrpc", "p0")} | {
        ("batch", "jsonrpc"),
        ("raw-lines", "p0"),
    }


@pytest.mark.parametrize("dialect", ["jsonrpc", "p0"])
def test_the_daemon_keeps_the_contract(daemon, dialect):
    report = run(f"unix:{daemon.socket}", dialects=[dialect])

    assert report.kept, str(report)
    assert report.count(Verdict.KEPT) == len(TOPICS) + 1
    assert not [line for line in daemon.logged() if line["level"] == "error"]


def test_it_does_so_on_tcp_with_its_token(daemon):
    token = (daemon.folder / "token").read_text().strip()
    with daemon.connect() as host:
        host.call("ping")
    (address,) = (text for text in ready(daemon)["listen"] if text.startswith("tcp:"))
    report = run(address, load(names=["hello", "stop-order"]), token=token)

    assert report.kept, str(report)
    assert not run(address, load(names=["hello"]), token="0" * 64).kept


def test_it_does_so_on_stdio_where_one_channel_is_enough(tmp_path):
    command = f"exec:{sys.executable} -m taskd --stdio --state-dir {tmp_path} --config /dev/null --log-level error"
    report = run(command, load(names=["switch-order", "driver"]), dialects=["p0"])

    assert {(o.transcript, str(o.verdict)) for o in report.outcomes} == {
        ("switch-order", "kept"),
        ("driver", "skipped"),
    }


def test_tasks_of_a_run_are_stopped_when_it_is_over(daemon):
    report = run(f"unix:{daemon.socket}", load(names=["switch-order"]))

    assert report.kept, str(report)
    with daemon.connect() as host:
        tasks = host.call("get_state")["tasks"]
    assert {task["state"] for task in tasks if task["taskId"].startswith("conformance-")} == {"stopped"}


# A daemon that does not keep it ---------------------------------------------------------------------------------------


def against(lines, name, **wrong) -> Report:
    """Replay against a daemon that answers with these lines, whatever is said."""
    with WrongDaemon(lines, **wrong) as fake:
        return run(fake.address, load(names=[name]), dialects=["jsonrpc"], patience=0.2)


def test_a_wrong_answer_is_shown_with_its_place_and_its_difference():
    (outcome,) = against(
        [{"jsonrpc": "2.0", "id": 1, "result": {"protocolVersion": "1", "agents": []}}], "hello"
    ).outcomes

    assert outcome.verdict is Verdict.BROKEN
    assert "hello.jsonrpc.jsonl:3: heard something else" in outcome.why
    assert '$.result.protocolVersion: expected a value of type integer, heard "1"' in outcome.why
    assert "$.result.seq: expected" in outcome.why
    assert "heard nothing" in outcome.why
    assert "last lines on channel first:" in outcome.why


def test_silence_is_broken_too():
    report = against([], "hello")

    assert "nothing more came within 0.2 s" in str(report)
    assert not report.kept


def test_so_is_a_line_that_is_no_json():
    assert "the daemon sent a line that is no JSON: {oops" in str(against([b"{oops"], "hello"))


def test_so_is_a_channel_that_is_closed_at_once():
    assert "the daemon closed channel first" in str(against([], "hello", hang_up=True))


def test_so_is_a_daemon_that_is_not_there(tmp_path):
    report = run(f"unix:{tmp_path}/nobody", load(names=["hello"]))

    assert report.count(Verdict.BROKEN) == 2
    assert "cannot connect" in str(report)


# Transcripts that are wrong themselves --------------------------------------------------------------------------------

HEADER = {"transcript": "x", "dialect": "jsonrpc", "about": "nothing"}


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "is empty"),
        ([{"transcript": "x"}], ":1: "),
        ([{**HEADER, "dialect": "klingon"}], "no dialect 'klingon'"),
        ([{**HEADER, "evnts": []}], ":1: .*evnts"),
        ([HEADER, {"saay": 1}], ":2: .*saay"),
        ([HEADER, {"say": 1, "hear": 2}], ":2: a step has exactly one"),
        ([HEADER, {"on": "x"}], ":2: a step has exactly one"),
        ([HEADER, {"check": 1}], ":2: `check` and `is`"),
    ],
)
def test_a_transcript_with_a_typing_error_is_refused(tmp_path, lines, why):
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    with pytest.raises(TranscriptError, match=why):
        read(path)


def test_unknown_names_and_empty_folders_are_said(tmp_path):
    with pytest.raises(TranscriptError, match="no transcript 'helo'; there is abort"):
        load(names=["helo"])
    with pytest.raises(TranscriptError, match="there are no transcripts in"):
        load(tmp_path)


@pytest.mark.parametrize("step", [{"say": {"$use": "nobody"}}, {"hear": {"$fits": 1}}, {"hear": {"$type": "text"}}])
def test_an_unknown_matcher_or_name_breaks_the_transcript(tmp_path, step):
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(HEADER) + "\n" + json.dumps({"say": 1}) + "\n" + json.dumps(step))
    with WrongDaemon([{}]) as fake:
        report = run(fake.address, load(tmp_path), patience=0.2)

    assert report.count(Verdict.BROKEN) == 1
    assert threading.active_count() == 1


def ready(daemon):
    """Give the log line that names the addresses."""
    return next(line for line in daemon.logged() if line["event"] == "ready")
