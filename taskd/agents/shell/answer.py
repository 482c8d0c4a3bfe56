"""The two ways a turn is shown: as the text of an answer, or as a tool execution with a closing line.

Both hear raw `output`, then exactly one of `ended` or `aborted`; `save_partial` replaces that end when the agent itself
has to go. They write through the `Turn` they belong to and close it once.
"""

from __future__ import annotations

from . import messages as say
from .limits import ANSWER_HEAD, ANSWER_TAIL, TOOL_TAIL, TOOL_UPDATE_S
from .session_file import new_uuid
from .transcript import Transcript
from .wire import Raw, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .run import Run

TOOL_NOTICE = f"[only the last {TOOL_TAIL} bytes are shown]\n"


def note(code: int) -> str:
    """The closing line for an exit code; empty for success."""
    if code < 0:
        return f"[killed by signal {-code}]"
    return f"[exit {code}]" if code else ""


class Answer:
    """An assistant message that is text."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._transcript = Transcript(ANSWER_HEAD, ANSWER_TAIL)
        self._started = run.now()
        self._text_open = False
        run.tell(say.message_start(encode(say.assistant(run.shell, [], "pending", self._started))))

    def output(self, data: bytes) -> None:
        """Raw output of the command."""
        self._show(self._transcript.feed(data))

    def say(self, text: str) -> None:
        """The whole answer at once."""
        self.output(text.encode("utf-8", "replace"))
        self._show(self._transcript.finish())
        self._close("stop")

    def ended(self, code: int) -> None:
        """The command is over."""
        self._show(self._transcript.finish(note(code)))
        self._close("stop")

    def failed(self, reason: str) -> None:
        """There was no command to run."""
        self._show(self._transcript.finish(f"[cannot run: {reason}]"))
        self._close("error", reason)

    def aborted(self) -> None:
        """The user ended it."""
        self._show(self._transcript.finish())
        self._close("aborted", say.ABORTED)

    def save_partial(self) -> None:
        """Put what there is on file as aborted."""
        self._transcript.finish()
        self._run.keep(self._message("aborted", say.ABORTED))

    def _show(self, text: str) -> None:
        if not text:
            return
        if not self._text_open:
            self._text_open = True
            self._run.tell(say.update(type="text_start", contentIndex=0))
        self._run.tell(say.update(type="text_delta", contentIndex=0, delta=text))

    def _close(self, stop: str, error: str = "") -> None:
        if self._text_open:
            self._run.tell(say.update(type="text_end", contentIndex=0, content=self._transcript.text))
        self._run.turn_ended(self._run.keep(self._message(stop, error)))

    def _message(self, stop: str, error: str) -> dict[str, Any]:
        text = self._transcript.text
        content = [say.text_block(text)] if text else []
        return say.ended(say.assistant(self._run.shell, content, stop, self._run.now()), self._started, error)


class ToolUse:
    """An assistant message that calls the bash tool, the execution, its result, and a closing message."""

    def __init__(self, run: Run, script: str) -> None:
        self._run = run
        self._script = script
        self._call = "call_" + new_uuid()
        self._transcript = Transcript(0, TOOL_TAIL)
        self._message = self._announce()
        self._started = run.now()
        run.tell(say.tool_event("start", self._call, self._args))
        self._update()

    def output(self, data: bytes) -> None:
        """Raw output of the command; shown as a cumulative update, at most one per TOOL_UPDATE_S."""
        self._transcript.feed(data)
        if not self._run.loop.pending("tool-update"):
            self._run.loop.after("tool-update", TOOL_UPDATE_S, self._update)

    def ended(self, code: int) -> None:
        """The command is over."""
        text = self._shown() or "(no output)"
        if code:
            text += f"\n\nCommand exited with code {code}" if code > 0 else f"\n\nCommand killed by signal {-code}"
        self._finish(text, code)
        answer = self._run.answer()
        answer.say(note(code) + "\n" if code else "Done.\n")

    def failed(self, reason: str) -> None:
        """There was no command to run."""
        self._finish(f"Cannot run: {reason}", None)
        self._run.answer().failed(reason)

    def aborted(self) -> None:
        """The user ended it: the result says so, and the answer after it is empty and aborted, as pi's is."""
        self._finish(self._aborted_text(), None)
        message = self._nothing_more()
        self._run.tell(say.message_start(encode(message)))
        self._run.turn_ended(self._run.keep(message))

    def save_partial(self) -> None:
        """Put the cut-off result and an aborted answer on file."""
        self._run.loop.cancel("tool-update")
        took = self._run.now() - self._started
        self._run.keep(say.tool_result(self._call, self._aborted_text(), None, took, self._run.now()))
        self._run.keep(self._nothing_more())

    @property
    def _args(self) -> dict[str, str]:
        return {"command": self._script}

    def _announce(self) -> Raw:
        run, started = self._run, self._run.now()
        block = say.tool_call(self._call, self._script)
        run.tell(say.message_start(encode(say.assistant(run.shell, [], "pending", started))))
        run.tell(say.update(type="toolcall_start", contentIndex=0, id=self._call, toolName="bash"))
        run.tell(say.update(type="toolcall_delta", contentIndex=0, delta=encode(self._args).decode()))
        run.tell(say.update(type="toolcall_end", contentIndex=0, toolCall=block))
        return run.keep(say.ended(say.assistant(run.shell, [block], "toolUse", run.now()), started))

    def _update(self) -> None:
        shown = self._shown()
        partial = {"content": [say.text_block(shown)], "details": {}} if shown else {"content": []}
        self._run.tell(say.tool_event("update", self._call, self._args, partialResult=partial))

    def _shown(self) -> str:
        return (TOOL_NOTICE if self._transcript.truncated else "") + self._transcript.peek_tail()

    def _aborted_text(self) -> str:
        shown = self._shown()
        return f"{shown}\n\nCommand aborted" if shown else "Command aborted"

    def _nothing_more(self) -> dict[str, Any]:
        now = self._run.now()
        return say.ended(say.assistant(self._run.shell, [], "aborted", now), now, say.ABORTED)

    def _finish(self, text: str, code: int | None) -> None:
        self._run.loop.cancel("tool-update")
        took = self._run.now() - self._started
        result: dict[str, Any] = {"content": [say.text_block(text)]}
        if code is None:
            result["details"] = {}
        else:
            result["structuredContent"] = self._structured(code, took)
            if code:
                result["isError"] = True
        self._run.tell(say.tool_event("end", self._call, result=result, isError=code != 0, durationMs=took))
        message = say.tool_result(self._call, text, code, took, self._run.now())
        self._run.tell(say.message_start(encode(message)))
        self._run.turn_went_on(self._message, self._run.keep(message))

    def _structured(self, code: int, took: int) -> dict[str, Any]:
        return {
            "output": self._transcript.peek_tail(),
            "truncated": self._transcript.truncated,
            "exit_code": code,
            "wall_time_seconds": round(took / 1000, 1),
        }
