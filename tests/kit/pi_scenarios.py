"""The conversations with real pi that are recorded as golden transcripts, one function each.

A scenario drives one pi through its rpc mode against the mock model; the tape keeps what was said. It must be the same
in every run: a reply stops at a gate, a tool waits for a file, nothing depends on speed.
The same function is recorded with every version, so it may use `Bench.settle` but no words of one dialect.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.kit.pi_bench import Bench, answer, bash, delta, output, prompt, until
from tests.kit.pi_home import OTHER_MODEL, PROVIDER, PiHome
from tests.kit.pi_tape import PiTape

ASKS = Path(__file__).with_name("pi_asks.js")
QUICK_RETRY: dict[str, dict[str, object]] = {
    "retry": {"enabled": True, "maxRetries": 2, "baseDelayMs": 5, "provider": {"maxRetries": 0}}
}


def hello(bench: Bench) -> PiTape:
    with bench.start() as tape:
        tape.send({"id": "s1", "type": "get_state"})
        tape.expect(id="s1")
    return tape


def text_turn(bench: Bench) -> PiTape:
    with bench.start() as tape:
        prompt(tape, '@text "hello "', "@gate one", '@text "wor\\u2028ld"', "@gate two")
        delta(tape, "hello ")
        bench.model.gate("one").open()
        delta(tape, "wor\u2028ld")
        bench.model.gate("two").open()
        bench.settle(tape)
        tape.send({"id": "s1", "type": "get_session_stats"})
        tape.expect(id="s1")
    return tape


def thinking_turn(bench: Bench) -> PiTape:
    with bench.start() as tape:
        prompt(tape, "@think hmm", "@gate one", "@text so", "@gate two")
        delta(tape, "hmm")
        bench.model.gate("one").open()
        delta(tape, "so")
        bench.model.gate("two").open()
        bench.settle(tape)
    return tape


def tool_turn(bench: Bench) -> PiTape:
    with bench.start() as tape:
        prompt(tape, bash("echo one", until("a"), "echo two", until("b"), "exit 3"), "@text done")
        output(tape, "one")
        bench.allow("a")
        output(tape, "two")
        bench.allow("b")
        bench.settle(tape)
    return tape


def parallel_tools(bench: Bench) -> PiTape:
    """The second tool speaks after the first one has, and ends before it."""
    second = bash(until("a"), "echo second", until("b"))
    with bench.start() as tape:
        prompt(tape, bash("echo first", until("c")), second.replace("@tool", "@also"), "@text done")
        output(tape, "first")
        bench.allow("a")
        output(tape, "second")
        bench.allow("b")
        tape.expect(type="tool_execution_end")
        bench.allow("c")
        bench.settle(tape)
    return tape


def steer(bench: Bench) -> PiTape:
    with bench.start() as tape:
        prompt(tape, bash("echo one", until("a")), "@text never said")
        output(tape, "one")
        tape.send({"id": "s1", "type": "steer", "message": "@text turned"})
        tape.expect(id="s1")
        bench.allow("a")
        bench.settle(tape)
    return tape


def follow_up(bench: Bench) -> PiTape:
    with bench.start() as tape:
        prompt(tape, "@text first", "@gate one")
        delta(tape, "first")
        tape.send({"id": "f1", "type": "follow_up", "message": "@text second"})
        tape.expect(id="f1")
        bench.model.gate("one").open()
        delta(tape, "second")
        bench.settle(tape)
    return tape


def abort_text(bench: Bench) -> PiTape:
    with bench.start() as tape:
        prompt(tape, "@text before", "@hang")
        delta(tape, "before")
        tape.send({"id": "a1", "type": "abort"})
        bench.settle(tape, {"id": "a1"})
        tape.send({"id": "a2", "type": "abort"})
        tape.expect(id="a2")
    return tape


def abort_tool(bench: Bench) -> PiTape:
    with bench.start() as tape:
        prompt(tape, bash("echo one", until("never")))
        output(tape, "one")
        tape.send({"id": "a1", "type": "abort"})
        bench.settle(tape, {"id": "a1"})
    return tape


def end_of_input(bench: Bench) -> PiTape:
    """Its stdin ends in the middle of the text."""
    with bench.start() as tape:
        prompt(tape, "@text before", "@hang")
        delta(tape, "before")
    return tape


def set_model(bench: Bench) -> PiTape:
    with bench.start() as tape:
        for number, model in enumerate((OTHER_MODEL, "nope")):
            tape.send({"id": f"m{number}", "type": "set_model", "provider": PROVIDER, "modelId": model})
            tape.expect(id=f"m{number}")
        tape.send({"id": "t1", "type": "set_thinking_level", "level": "high"})
        tape.expect(id="t1")
        tape.send({"id": "s1", "type": "get_state"})
        tape.expect(id="s1")
    return tape


def available_models(bench: Bench) -> PiTape:
    with bench.start() as tape:
        tape.send({"id": "m1", "type": "get_available_models"})
        tape.expect(id="m1")
    return tape


def busy_prompt(bench: Bench) -> PiTape:
    with bench.start() as tape:
        prompt(tape, "@text first", "@gate one")
        delta(tape, "first")
        tape.send({"id": "p2", "type": "prompt", "message": "@text second"})
        tape.expect(id="p2")
        bench.model.gate("one").open()
        bench.settle(tape)
    return tape


def compaction(bench: Bench) -> PiTape:
    """A turn that fills the context, so that pi asks the model for a summary by itself."""
    with bench.start(settings={"compaction": {"enabled": True, "keepRecentTokens": 1}}) as tape:
        prompt(tape, "@text one")
        bench.settle(tape)
        # The summary is asked for with this very text in it, so its second line is what the summary says.
        prompt(tape, "@usage 120000 5", "@text two", id="p2")
        bench.settle(tape, {"type": "compaction_end"})
    return tape


def user_bash(bench: Bench) -> PiTape:
    """A command of the user, outside of any run."""
    with bench.start() as tape:
        tape.send({"id": "b1", "type": "bash", "command": "echo one; exit 3"})
        tape.expect(id="b1", type="response")
    return tape


def dialogs(bench: Bench) -> PiTape:
    """A command of an extension that asks three questions; no run of the agent comes of it."""
    with bench.start(extensions=[ASKS]) as tape:
        prompt(tape, "/ask")
        answer(tape, "select", value="green")
        answer(tape, "confirm", confirmed=True)
        answer(tape, "input", cancelled=True)
        tape.expect_all({"method": "notify"}, {"id": "p1"})
    return tape


def permission(bench: Bench) -> PiTape:
    """A tool call that is asked for twice: refused, then allowed."""
    guarded = bash(": guarded", "echo ran")
    with bench.start(extensions=[ASKS]) as tape:
        prompt(tape, guarded, guarded, "@text done")
        answer(tape, "confirm", confirmed=False)
        answer(tape, "confirm", confirmed=True)
        bench.settle(tape)
    return tape


def unknown_command(bench: Bench) -> PiTape:
    with bench.start() as tape:
        tape.send({"id": "u1", "type": "nope"})
        tape.expect(command="nope")
    return tape


def parse_error(bench: Bench) -> PiTape:
    """A line that is not JSON is answered; the line `null` ends pi."""
    with bench.start() as tape:
        tape.send_text("{no json")
        tape.expect(command="parse")
        tape.send_text("null")
    return tape


def retry_success(bench: Bench) -> PiTape:
    with bench.start(settings=QUICK_RETRY) as tape:
        prompt(tape, "@status 503 1", "@text at last")
        delta(tape, "at last")
        bench.settle(tape)
    return tape


def retry_exhausted(bench: Bench) -> PiTape:
    with bench.start(settings=QUICK_RETRY) as tape:
        prompt(tape, "@status 503")
        bench.settle(tape, {"type": "auto_retry_end"})
    return tape


def abort_retry(bench: Bench) -> PiTape:
    """An abort while pi waits for its next try."""
    patient = QUICK_RETRY["retry"] | {"baseDelayMs": 60_000}
    with bench.start(settings={"retry": patient}) as tape:
        prompt(tape, "@status 503")
        tape.expect(type="auto_retry_start")
        tape.send({"id": "a1", "type": "abort"})
        tape.expect(id="a1")
        tape.send({"id": "s1", "type": "get_state"})
        tape.expect(id="s1")
    return tape


def model_refuses(bench: Bench) -> PiTape:
    """An error that is not worth a retry."""
    with bench.start(settings=QUICK_RETRY) as tape:
        prompt(tape, "@status 400")
        bench.settle(tape)
    return tape


def model_drops(bench: Bench) -> PiTape:
    """A connection that breaks in the middle of the text."""
    with bench.start(settings={"retry": {"enabled": False}}) as tape:
        prompt(tape, "@text before", "@gate one", "@drop")
        delta(tape, "before")
        bench.model.gate("one").open()
        bench.settle(tape)
    return tape


def resume(bench: Bench) -> PiTape:
    """The second process of a session; the first one is not on the tape."""
    with bench.start() as first:
        prompt(first, "@text first")
        bench.settle(first)
    with bench.start() as tape:
        tape.send({"id": "s1", "type": "get_state"})
        tape.expect(id="s1")
        tape.send({"id": "s2", "type": "get_messages"})
        tape.expect(id="s2")
        prompt(tape, "@text second", "@gate one")
        delta(tape, "second")
        bench.model.gate("one").open()
        bench.settle(tape)
    return tape


def adopt(bench: Bench) -> PiTape:
    """A process without a session that is given one by its file, whose header names another folder."""
    elsewhere = bench.root / "elsewhere"
    elsewhere.mkdir()
    header = {"type": "session", "version": 3, "id": "task-1", "timestamp": "2023-11-14T22:13:20.000Z"}
    seeded = bench.root / "seeded.jsonl"
    seeded.write_text(json.dumps(header | {"cwd": str(elsewhere)}) + "\n", "utf-8")
    home = PiHome(bench.root, bench.model.base_url)
    with PiTape(bench.pi.rpc(), env=home.env, cwd=bench.work) as tape:
        tape.send({"id": "a1", "type": "switch_session", "sessionPath": str(seeded)})
        tape.expect(id="a1")
        tape.send({"id": "a2", "type": "get_state"})
        tape.expect(id="a2")
        prompt(tape, bash("pwd", until("a")), "@text done")
        output(tape, "elsewhere")
        (elsewhere / "a").touch()
        bench.settle(tape)
    return tape


SCENARIOS: tuple[Callable[[Bench], PiTape], ...] = (
    hello,
    text_turn,
    thinking_turn,
    tool_turn,
    parallel_tools,
    steer,
    follow_up,
    abort_text,
    abort_tool,
    end_of_input,
    set_model,
    available_models,
    busy_prompt,
    compaction,
    user_bash,
    dialogs,
    permission,
    unknown_command,
    parse_error,
    retry_success,
    retry_exhausted,
    abort_retry,
    model_refuses,
    model_drops,
    resume,
    adopt,
)
