"""`taskctl conformance`: verdicts, the first difference, and an exit code."""

import json

import pytest

from tests.host_client.cli_fixtures import daemon, task, taskctl

__all__ = ["daemon", "task", "taskctl"]


@pytest.fixture
def transcripts(tmp_path):
    """Two conversations: one that the daemon keeps, and two that it cannot."""

    def write(name, heard):
        header = {"transcript": name, "dialect": "jsonrpc", "about": "a ping"}
        steps = [
            {"say": {"jsonrpc": "2.0", "id": "$1", "method": "ping"}},
            {"hear": {"jsonrpc": "2.0", "result": heard}},
        ]
        lines = [json.dumps(line) for line in (header, *steps)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")

    write("kept", {"at": {"$type": "string"}})
    write("wrong-1", {"at": 7})
    write("wrong-2", {"at": 8})
    return str(tmp_path)


def test_a_contract_that_is_kept(taskctl):
    result = taskctl("conformance", "--only", "hello")
    assert (result.code, result.err) == (0, "")
    assert "✓ jsonrpc  hello\n✓ p0       hello\n" in result.out
    assert result.out.endswith("keeps the contract: 2 kept\n")


def test_one_dialect_alone(taskctl):
    assert taskctl("conformance", "--only", "hello", "--dialect", "p0").out.count("✓") == 1


def test_the_first_difference_is_shown_whole(taskctl, transcripts):
    result = taskctl("conformance", "--transcripts", transcripts)
    assert result.code == 1
    assert result.out.count("✗ jsonrpc") == 2
    first, _, rest = result.out.partition("✗ jsonrpc  wrong-2")
    assert first.count("\n    ") > rest.partition("\n\n")[0].count("\n    ") >= 1
    assert "breaks the contract: 1 kept, 2 broken" in rest
    verbose = taskctl("conformance", "--transcripts", transcripts, "-v")
    assert len(verbose.out) > len(result.out)


def test_programs_get_each_verdict_and_the_result(taskctl, transcripts):
    result = taskctl("conformance", "--transcripts", transcripts, "--json")
    assert result.code == 1
    *outcomes, last = result.values
    verdicts = {value["outcome"]["transcript"]: value["outcome"]["verdict"] for value in outcomes}
    assert verdicts == {"kept": "kept", "wrong-1": "broken", "wrong-2": "broken"}
    assert outcomes[1]["outcome"]["why"]
    assert last["result"]["conforms"] is False
    assert (last["result"]["kept"], last["result"]["broken"]) == (1, 2)


def test_nobody_there_is_no_broken_contract(taskctl):
    assert taskctl("conformance", "unix:/nowhere/taskd.sock").code == 3


def test_a_conversation_that_is_not_there_is_wrong_usage(taskctl):
    result = taskctl("conformance", "--only", "nothing")
    assert result.code == 2
    assert "hello" in result.err
