"""A run of the fake pi: the order of events, as a generator that yields whenever it has to wait.

Order and shapes follow recordings of pi 1.5.2 and 0.74.2. `AbortedError` is thrown in at a wait; the run then tells and
saves what pi does and ends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from typing import TYPE_CHECKING

from . import flood, misdeeds, script
from .script import Step
from .talk import Json, Talk
from .tool import ToolProcess
from .waits import SOON, TICK, AbortedError, Wait, Waits, dialog, pace

if TYPE_CHECKING:
    from .agent import FakePi

COMPACT_AT = 110_000
"""Tokens of a message after which pi compacts by itself."""
CHUNK = 16
"""Characters of a delta of @chunks."""
KEPT_TEXT = 65536
"""Bytes of a flood that the closing lines repeat."""


class ModelError(Exception):
    """The model failed: `again` when pi would try again."""

    def __init__(self, text: str, again: bool) -> None:
        super().__init__(text)
        self.again = again


class Run:
    """Everything between a prompt's response and agent_settled."""

    def __init__(self, pi: FakePi) -> None:
        self.pi = pi
        self.talk: Talk = pi.talk
        self.steps: list[Step] = []
        self.made: list[Json] = []
        self.content: list[Json] = []
        self.in_message = False
        self.tools: list[tuple[Json, ToolProcess | None]] = []
        self.failures = 0
        self.retrying = False
        self.retry_gate: str | None = None
        self.tokens = (10, 5)
        self.stop = "stop"
        self.started = 0

    # -- the run -------------------------------------------------------------------------------------------------------

    def go(self, prompt: str) -> Waits:
        """The whole run."""
        aborted = False
        try:
            self.pi.tell({"type": "agent_start"})
            yield from self._turns(prompt)
        except AbortedError:
            aborted = True
            self._close_aborted()
        except ExhaustedError:
            pass
        except ModelError as error:
            self._end_failed(str(error), will_retry=False)
        else:
            self.pi.tell(self.talk.agent_end(self.made, False))
            self._compact_when_full()
        if not self.talk.old:
            self.pi.tell({"type": "agent_settled", "aborted": aborted})
        for late in self.pi.after_run:
            self.pi.tell(late)
        self.pi.after_run.clear()

    def _turns(self, prompt: str) -> Waits:
        following: str | None = prompt
        queued = False
        while following is not None:
            self._ask(following, queued)
            queued = True
            following = yield from self._answers()

    def _answers(self) -> Generator[Wait, None, str | None]:
        """Messages of the model until it stops; returns the next queued prompt."""
        while True:
            calls = yield from self._message_with_retries()
            message = self.made[-1]
            results = yield from self._call_tools(calls)
            self.pi.tell({"type": "turn_end", "message": message, "toolResults": results})
            queue = self.pi.steering or ([] if calls else self.pi.follow_up)
            if queue:
                return queue.pop(0)
            if not calls:
                return None
            self.pi.tell({"type": "turn_start"})
            if not self.steps:
                self.steps = [Step("text", f"tool said: {results[-1]['content'][0]['text'][:200]}".replace("\n", " "))]

    def _ask(self, prompt: str, queued: bool) -> None:
        self.steps = script.parse(prompt)
        self.pi.tell({"type": "turn_start"})
        if queued:
            self.pi.tell_queue()
        if not self.talk.old and not any(message["role"] == "system" for message in self.pi.session.messages):
            self._whole(self.talk.system(self.pi.session.cwd, self.now()))
        self._whole(self.talk.user(prompt, self.now()))

    # -- one message of the model --------------------------------------------------------------------------------------

    def _message_with_retries(self) -> Generator[Wait, None, list[Json]]:
        tried = 0
        while True:
            try:
                calls = yield from self._message()
                if tried:
                    self.pi.tell({"type": "auto_retry_end", "success": True, "attempt": tried})
                return calls
            except ModelError as error:
                if not error.again:
                    raise
                tried += 1
                yield from self._retry(tried, str(error))

    def _message(self) -> Generator[Wait, None, list[Json]]:
        """One assistant message; returns its tool calls."""
        self._fail_if_told()
        self.content, self.tokens, self.stop = [], (10, 5), "stop"
        self.started, self.in_message = self.now(), True
        self.pi.tell({"type": "message_start", "message": self._partial("pending", told=False)})
        calls: list[Json] = []
        while self.steps and not calls:
            step = self.steps.pop(0)
            if step.name == "tool":
                calls = self._take_calls(step)
            else:
                yield from self._do(step)
        self._end_blocks()
        message = self._partial("toolUse" if calls else self.stop)
        self.in_message = False
        self._end_message(self.talk.ended(message, self.pi.session.level))
        return calls

    def _do(self, step: Step) -> Waits:
        if step.name in script.MISDEED:
            misdeeds.commit(self.pi, step.name, step.rest)
        elif step.name in script.DIALOG:
            yield from dialog(self.pi, step)
        elif step.name in script.PACE:
            yield from pace(self.pi, step)
        elif step.name in ("chunks", "flood"):
            yield from self._many(step)
        elif step.name == "drop":
            raise self._broken("terminated", again=False)
        elif step.name == "retry-gate":
            self.retry_gate = step.rest
        elif step.name == "status":
            raise self._broken(_model_error(step.rest), _passes(step.rest))
        else:
            self._say(step)

    def _say(self, step: Step) -> None:
        if step.name == "usage":
            taken, given = map(int, step.rest.split())
            self.tokens = (taken, given)
        elif step.name == "stop":
            self.stop = step.rest
        elif step.name in ("text", "think"):
            text = json.loads(step.rest) if step.rest.startswith('"') else step.rest
            self._delta("thinking" if step.name == "think" else "text", text)

    def _delta(self, kind: str, text: str) -> None:
        index = self._block(kind)
        self.content[index][kind] += text
        event = {"type": f"{kind}_delta", "contentIndex": index, "delta": text}
        self.pi.tell(self.talk.update(self._partial("pending"), event))

    def _block(self, kind: str) -> int:
        """The index of the block of that kind, started if need be."""
        for index, block in enumerate(self.content):
            if block["type"] == kind:
                return index
        signed = {"thinkingSignature": "reasoning_content"} if kind == "thinking" else {}
        self.content.append({"type": kind, kind: "", **signed})
        event = {"type": f"{kind}_start", "contentIndex": len(self.content) - 1}
        self.pi.tell(self.talk.update(self._partial("pending"), event))
        return len(self.content) - 1

    def _many(self, step: Step) -> Waits:
        count, *sizes = map(int, step.rest.split())
        if step.name == "chunks":
            size = sizes[0] if sizes else CHUNK
            for number in range(count):
                self._delta("text", f"{number:05d}".ljust(size, ".")[:size])
                if number % 64 == 63:
                    yield SOON
            return
        size, *rest = sizes
        index = self._block("text")
        self.pi.flush()
        for _ in flood.deltas(self.talk, 1, self._partial("pending"), index, count, size):
            yield SOON
        kept = rest[0] if rest else KEPT_TEXT
        self.content[index]["text"] += (flood.pattern(size) * min(count, kept // max(1, size) + 1))[:kept]

    def _take_calls(self, first: Step) -> list[Json]:
        """The tool calls of this message, told block by block."""
        steps = [first]
        while self.steps and self.steps[0].name == "also":
            steps.append(self.steps.pop(0))
        calls: list[Json] = []
        for step in steps:
            name, _, arguments = step.rest.partition(" ")
            call = {"id": f"call_{len(self.pi.session.messages)}_{len(calls)}", "name": name}
            calls.append({"type": "toolCall", **call, "arguments": json.loads(arguments or "{}")})
            self._tell_call(calls[-1], arguments or "{}")
        return calls

    def _tell_call(self, call: Json, arguments: str) -> None:
        index = len(self.content)
        self.content.append({**call, "partialArgs": arguments, "streamIndex": index} if self.talk.old else call)
        self.pi.tell(self.talk.update(self._partial("pending"), self.talk.toolcall_start(call, index)))
        event = {"type": "toolcall_delta", "contentIndex": index, "delta": arguments}
        self.pi.tell(self.talk.update(self._partial("pending"), event))

    def _end_blocks(self, message: Json | None = None) -> None:
        """Close the blocks; `message` is what the old form repeats when it is not the partial one."""
        for index, block in enumerate(self.content):
            if block["type"] == "toolCall":
                call = {key: block[key] for key in ("type", "id", "name", "arguments")}
                self.content[index] = call
                event: Json = {"type": "toolcall_end", "contentIndex": index, "toolCall": call}
            else:
                kind = block["type"]
                event = {"type": f"{kind}_end", "contentIndex": index, "content": block[kind]}
            partial = self._partial("pending") if message is None else message
            self.pi.tell(self.talk.update(partial, event))

    # -- tools ---------------------------------------------------------------------------------------------------------

    def _call_tools(self, calls: list[Json]) -> Generator[Wait, None, list[Json]]:
        """Run the calls side by side; returns their results."""
        ends: dict[str, Json] = {}
        self.tools = []
        for call in calls:
            self.pi.tell({"type": "tool_execution_start", **_named(call), "args": call["arguments"]})
            allowed = yield from self._permission(call)
            self.tools.append((call, ToolProcess(self.pi, call) if allowed else None))
        while any(call["id"] not in ends for call, _ in self.tools):
            for call, process in self.tools:
                if call["id"] not in ends and (end := self._look(call, process)):
                    ends[call["id"]] = end
                    self.pi.tell(end)
            if len(ends) < len(calls):
                yield TICK
        self.tools = []
        return [self._whole(self.talk.tool_result(ends[call["id"]], self.now())) for call in calls]

    def _permission(self, call: Json) -> Generator[Wait, None, bool]:
        if ": guarded" not in str(call["arguments"].get("command", "")):
            return True
        fields = {"title": "Allow?", "message": call["name"]}
        reply = yield from dialog(self.pi, Step("confirm", json.dumps(fields)))
        return bool(reply and reply.get("confirmed"))

    def _look(self, call: Json, process: ToolProcess | None) -> Json | None:
        """The end event of a tool that is done; tells its progress."""
        if process is None:
            return self.talk.tool_end(call, "Blocked by the user", None, ran=False)
        for partial in process.progress():
            event = {"type": "tool_execution_update", **_named(call), "args": call["arguments"]}
            self.pi.tell({**event, "partialResult": partial})
        code = process.exit_code()
        return None if code is None else self.talk.tool_end(call, process.final_text(code), code)

    # -- ends that are not plain ---------------------------------------------------------------------------------------

    def _fail_if_told(self) -> None:
        if not (self.steps and self.steps[0].name == "status"):
            return
        code, *times = self.steps[0].rest.split()
        self.failures += 1
        if times and self.failures >= int(times[0]):
            self.steps.pop(0)
        self.started = self.now()
        failed = self.talk.failed(self._bare("error"), _model_error(code), self.pi.session.level)
        self.pi.tell({"type": "message_start", "message": failed})
        self._end_message(failed)
        raise ModelError(_model_error(code), _passes(code))

    def _broken(self, error: str, again: bool) -> ModelError:
        """The message ends in an error with what it has."""
        self.in_message = False
        self._end_message(self.talk.failed(self._partial("error"), error, self.pi.session.level))
        return ModelError(error, again)

    def _end_failed(self, error: str, will_retry: bool) -> None:
        self.pi.tell({"type": "turn_end", "message": self.made[-1], "toolResults": []})
        self.pi.tell(self.talk.agent_end(self.made, will_retry))
        self.made = []

    def _retry(self, tried: int, error: str) -> Waits:
        retries, delay_ms = self.pi.retry_plan()
        again = tried <= retries
        self._end_failed(error, will_retry=again)
        if not again:
            self.pi.tell({"type": "auto_retry_end", "success": False, "attempt": retries, "finalError": error})
            raise ExhaustedError
        plan = {"attempt": tried, "maxAttempts": retries, "delayMs": delay_ms * 2 ** (tried - 1), "errorMessage": error}
        self.pi.tell({"type": "auto_retry_start", **plan})
        if not self.talk.old:
            self._tell_context_edit()
        self.retrying = True
        yield from pace(self.pi, Step("delay", str(plan["delayMs"])))
        if self.retry_gate:
            yield from pace(self.pi, Step("gate", self.retry_gate))
        self.retrying = False
        self.pi.tell({"type": "agent_start"})
        self.pi.tell({"type": "turn_start"})

    def _tell_context_edit(self) -> None:
        named = {
            "type": "context_edit",
            "id": "00000000",
            "parentId": "00000000",
            "timestamp": "1970-01-01T00:00:00.000Z",
        }
        self.pi.tell({"type": "entry_appended", "entry": {**named, "targetId": "00000000", "replacement": None}})

    def _close_aborted(self) -> None:
        if self.retrying:
            plan = {"success": False, "attempt": self.failures, "finalError": "Retry cancelled"}
            self.pi.tell({"type": "auto_retry_end", **plan})
            return
        if self.in_message:
            message = self._aborted(self._partial("aborted"))
            self._end_blocks(message)
            self.in_message = False
            self._end_message(message)
        else:
            results = [self._stop_tool(call, process) for call, process in self.tools]
            self.tools = []
            self.pi.tell({"type": "turn_end", "message": self._last_answer(), "toolResults": results})
            self.pi.tell({"type": "turn_start"})
            self.started = self.now()
            empty = self._aborted(self._bare("aborted"))
            self.pi.tell({"type": "message_start", "message": empty})
            self._end_message(empty)
        self.pi.tell({"type": "turn_end", "message": self.made[-1], "toolResults": []})
        self.pi.tell(self.talk.agent_end(self.made, False))

    def _compact_when_full(self) -> None:
        if sum(self.tokens) < COMPACT_AT:
            return
        self.pi.tell({"type": "compaction_start", "reason": "threshold"})
        result: Json = {"summary": "a summary", "firstKeptEntryId": "00000000", "tokensBefore": sum(self.tokens)}
        new = {} if self.talk.old else {"estimatedTokensAfter": 100, "usage": self.talk.usage(self.tokens)}
        result = {**result, **new, "details": {"readFiles": [], "modifiedFiles": []}}
        end = {"type": "compaction_end", "reason": "threshold", "result": result}
        self.pi.tell({**end, "aborted": False, "willRetry": False})

    def _last_answer(self) -> Json:
        return next((made for made in reversed(self.made) if made["role"] == "assistant"), self._bare("aborted"))

    def _stop_tool(self, call: Json, process: ToolProcess | None) -> Json:
        shown = process.kill() if process else ""
        end = self.talk.tool_end(call, f"{shown}\n\nCommand aborted" if shown else "Command aborted", None)
        self.pi.tell(end)
        return self._whole(self.talk.tool_result(end, self.now()))

    def _aborted(self, message: Json) -> Json:
        return self.talk.failed(message, "Request was aborted", self.pi.session.level)

    def save_aborted(self) -> None:
        """pi is told to go in the middle: the new one saves what there is, the old one does not."""
        if self.talk.old:
            return
        if self.in_message:
            self.pi.session.append("message", message=self._aborted(self._partial("aborted")))
            return
        for call, process in self.tools:
            shown = process.text if process else ""
            end = self.talk.tool_end(call, f"{shown}\n\nCommand aborted" if shown else "Command aborted", None)
            self.pi.session.append("message", message=self.talk.tool_result(end, self.now()))
        self.pi.session.append("message", message=self._aborted(self._bare("aborted")))

    def kill_tools(self) -> None:
        """End the tools' processes."""
        for _, process in self.tools:
            if process:
                process.kill()

    # -- messages ------------------------------------------------------------------------------------------------------

    def now(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def _partial(self, stop: str, told: bool = True) -> Json:
        tokens = self.tokens if told else None
        return self.talk.assistant(self.pi.model["id"], self.content, stop, self.started, tokens)

    def _bare(self, stop: str) -> Json:
        return self.talk.assistant(self.pi.model["id"], [], stop, self.started, None)

    def _end_message(self, message: Json) -> None:
        self.made.append(message)
        self.pi.session.append("message", message=message)
        self.pi.tell({"type": "message_end", "message": message})

    def _whole(self, message: Json) -> Json:
        self.pi.tell({"type": "message_start", "message": message})
        self._end_message(message)
        return message


class ExhaustedError(ModelError):
    """The last try failed; everything is told already."""

    def __init__(self) -> None:
        super().__init__("", again=False)


def _model_error(code: str) -> str:
    code = code.split()[0]
    return f'{code}: {{"message":"mock error","type":"mock_error","code":{code}}}'


def _passes(code: str) -> bool:
    """Whether pi tries again after this status."""
    return code.split()[0] in ("429", "500", "502", "503", "504")


def _named(call: Json) -> Json:
    return {"toolCallId": call["id"], "toolName": call["name"]}
