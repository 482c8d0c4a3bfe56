"""A turn as it happens: the answer on standard output, all that is said about it on standard error.

Where standard output is no terminal it gets the answer and nothing else: the messages of a turn with a blank line
between them, as in `TurnResult.text`, and a line end at its end. Where both are one terminal, whoever speaks begins a
line of their own.
"""

from host_client.cli.escapes import Cleaner, one_line
from host_client.cli.screen import RESET, Screen
from host_client.cli.views import question_line, tool_line, usage_note
from host_client.notices import Lagged, Reconnected
from host_client.turning import TurnResult
from taskd.model.events import AgentOutput, AgentQuestion, ToolEnded, ToolOutput, ToolStarted, UsageReported

MAX_TOOL_LINES = 12
"""Lines of a tool call's output that are shown while it runs; the session has them all."""


class LiveTurn:
    """Shows one turn.

    Args:
        out: standard output.
        err: standard error.
        quiet: the answer alone, and what it waits for.
    """

    def __init__(self, out: Screen, err: Screen, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._shared = out.is_terminal and err.is_terminal
        self._answer = _Voice(out, "")
        self._thinking = _Voice(err, "dim italic")
        self._tool = _Voice(err, "dim")
        self._err = err
        self._speaker: _Voice | None = None
        self._tool_lines = 0
        self._said = self._next_message = False

    def show(self, item: object) -> None:
        """Show one thing that happened."""
        match item:
            case AgentOutput(chunk=chunk, kind="text"):
                self._say_answer(chunk)
            case AgentOutput(chunk=chunk):
                self._say(self._thinking, chunk)
            case ToolStarted(tool=tool, args=args):
                self._next_message, self._tool_lines = True, 0
                self.aside(tool_line(tool, bytes(args)), "cyan")
            case ToolOutput(chunk=chunk):
                self._say_tool(chunk)
            case ToolEnded(tool=tool, is_error=True):
                self.aside(f"✗ {one_line(tool)} failed", "red")
            case UsageReported():
                self._next_message = True
            case AgentQuestion():
                # Told even to those who want it quiet: nothing goes on before it is answered.
                self._say_aside(f"? {question_line(item)}  (taskctl answer {item.request_id})", "bold magenta")
            case Lagged() | Reconnected():
                why = "reconnected" if isinstance(item, Reconnected) else "this terminal is too slow"
                self.aside(f"{why}: some output was skipped; `taskctl show` has it whole", "magenta")

    def aside(self, text: str, style: str = "") -> None:
        """Say something about the turn, in a line of its own; the text must be clean."""
        if not self._quiet:
            self._say_aside(text, style)

    def end(self, result: TurnResult | None = None) -> None:
        """Close the line, and say how it ended where that is not plain."""
        if result is not None and result.text and not self._said:
            # The turn was over before we listened: another connection's, or one that broke.
            self._say_answer(result.text)
        self._hush()
        self._answer.close_line()
        if result is None:
            return
        if result.stop_reason != "stop":
            self.aside(f"{result.stop_reason}{': ' + one_line(result.error) if result.error else ''}", "magenta")
        if note := usage_note(result.usage):
            self.aside(note.removeprefix(" · "), "dim")

    def _say_aside(self, text: str, style: str) -> None:
        self._hush()
        self._err.line(text, style)

    def _say_answer(self, chunk: str) -> None:
        if self._next_message and self._said:
            # On a terminal with asides the tool's lines part the messages already.
            self._say(self._answer, "\n\n" if self._quiet or not self._shared else "")
        self._next_message, self._said = False, True
        self._say(self._answer, chunk)

    def _say_tool(self, chunk: str) -> None:
        room = MAX_TOOL_LINES - self._tool_lines
        if room <= 0:
            return
        lines = chunk.split("\n")
        self._tool_lines += len(lines) - 1
        self._say(self._tool, "\n".join(lines[:room]))
        if self._tool_lines >= MAX_TOOL_LINES:
            self.aside("… more; `taskctl show` has it all when the turn is over", "dim")

    def _say(self, voice: "_Voice", text: str) -> None:
        if self._quiet and voice is not self._answer:
            return
        if self._speaker is not voice:
            self._hush()
            self._speaker = voice
        voice.say(text)

    def _hush(self) -> None:
        """End whoever speaks, so that what comes next begins a line."""
        speaker, self._speaker = self._speaker, None
        if speaker is not None and (speaker is not self._answer or self._shared):
            speaker.close_line()


class _Voice:
    """A stream of an agent's text in one style, as one end may show it."""

    def __init__(self, screen: Screen, style: str) -> None:
        self._screen = screen
        self._style = style
        self._cleaner: Cleaner | None = screen.cleaner()
        self._coloured = False

    def say(self, text: str) -> None:
        """Write a piece."""
        if self._cleaner is not None:
            text = self._cleaner.feed(text)
            self._coloured = self._coloured or "\x1b" in text
        self._screen.write(self._screen.paint(text, self._style))

    def close_line(self) -> None:
        """Write what still waited, end the agent's colours, and end the line."""
        rest = self._cleaner.end() if self._cleaner is not None else ""
        self._screen.write(rest + (RESET if self._coloured else ""))
        self._coloured = False
        if not self._screen.fresh:
            self._screen.write("\n")
