"""The script of a mock model: which replies the directives in a prompt ask for. Pure; `mock_model` performs it.

A directive is a line of the last user message that begins with `@`; all other lines are prose. The directives are the
steps of the replies, in their order:

    @text WORDS          one delta with these words (or a JSON string: `@text "two\\nlines"`)
    @think WORDS         one delta of thinking
    @chunks N [SIZE]     N deltas of SIZE characters (16)
    @delay MS            a pause before each later delta of this reply
    @gate NAME           wait until somebody opens the gate of this name
    @hang                say nothing more until the client leaves
    @drop                cut the connection in the middle of the reply
    @status CODE [TIMES] answer with this HTTP status: always, or to the first TIMES tries of this very request
    @usage IN OUT        the token counts of this reply
    @tool NAME JSON      call a tool; this ends the reply, and what follows answers the tool's result
    @also NAME JSON      one more call in the same reply as the `@tool` above it

A prompt without directives is echoed. Which reply is due follows from the history alone (how often the model has called
tools since the last user message), so a repeated or replayed request gets the same answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

DELTA_CHARS = 16
ECHO_CHARS = 200

Message = Mapping[str, Any]
"""One entry of `messages` in a chat-completions request: role, content, and tool_calls of an assistant."""


class ScriptError(ValueError):
    """A line begins with `@` and is no directive: a typing error in a test, which the mock answers with status 400."""


@dataclass(frozen=True)
class Say:
    text: str
    thinking: bool = False


@dataclass(frozen=True)
class Pause:
    seconds: float


@dataclass(frozen=True)
class Await:
    gate: str


@dataclass(frozen=True)
class Hang:
    pass


@dataclass(frozen=True)
class Drop:
    pass


Step = Say | Pause | Await | Hang | Drop


@dataclass(frozen=True)
class Call:
    """A tool call; `arguments` is the JSON text as the model says it (it may be invalid: that is a case to test)."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Refusal:
    """An HTTP status instead of a reply; `times` None is always."""

    status: int
    times: int | None = None


@dataclass(frozen=True)
class Reply:
    """What the model does in one request. `usage` is (input, output) tokens; None leaves it to the mock."""

    steps: tuple[Step, ...] = ()
    calls: tuple[Call, ...] = ()
    usage: tuple[int, int] | None = None
    refusal: Refusal | None = None


def reply_to(messages: Sequence[Message]) -> Reply:
    """The reply that the last user message of this history asks for.

    :raises ScriptError: a line begins with `@` and is no directive
    """
    prompt, results, rounds = _since_last_user(messages)
    replies = read_script(prompt)
    if rounds < len(replies):
        return replies[rounds]
    said = f"tool said: {results[-1].strip()[:ECHO_CHARS]}" if results else f"echo: {prompt.strip()[-ECHO_CHARS:]}"
    return Reply(steps=(Say(said),))


def read_script(prompt: str) -> list[Reply]:
    """The replies of a prompt, one per model request; empty for a prompt without directives.

    :raises ScriptError: a line begins with `@` and is no directive
    """
    draft = _Draft()
    for line in prompt.split("\n"):
        if line.startswith("@"):
            word, _, rest = line[1:].partition(" ")
            _apply(draft, word, rest.strip(), line)
    return draft.replies


def text_of(content: object) -> str:
    """The text of a message's `content`: a string, or a list of parts of which only those of type text count."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part["text"]) for part in parts if isinstance(part, dict) and part.get("type") == "text")


def _since_last_user(messages: Iterable[Message]) -> tuple[str, list[str], int]:
    """The last user text, the tool results after it, and how many assistant messages after it called tools."""
    prompt, rounds = "", 0
    results: list[str] = []
    for message in messages:
        match message.get("role"):
            case "user":
                prompt, results, rounds = text_of(message.get("content")), [], 0
            case "tool":
                results.append(text_of(message.get("content")))
            case "assistant":
                rounds += bool(message.get("tool_calls"))
    return prompt, results, rounds


@dataclass
class _Draft:
    """The replies while their lines are read; the last one takes the next step unless it has called tools."""

    replies: list[Reply] = field(default_factory=list)
    delay_s: float = 0.0

    def current(self) -> Reply:
        if not self.replies or self.replies[-1].calls:
            self.replies.append(Reply())
            self.delay_s = 0.0
        return self.replies[-1]

    def change(self, **fields: Any) -> None:
        reply = self.current()
        self.replies[-1] = replace(reply, **fields)

    def add(self, steps: Iterable[Step]) -> None:
        self.change(steps=(*self.current().steps, *steps))

    def say(self, deltas: Iterable[Say]) -> None:
        self.current()
        self.add(step for delta in deltas for step in ((Pause(self.delay_s), delta) if self.delay_s else (delta,)))

    def pace(self, milliseconds: int) -> None:
        self.current()
        self.delay_s = milliseconds / 1000

    def call(self, rest: str) -> None:
        self.change(calls=(_call(rest),))

    def also(self, rest: str) -> None:
        if not self.replies or not self.replies[-1].calls:
            raise ValueError("no @tool above")
        self.replies[-1] = replace(self.replies[-1], calls=(*self.replies[-1].calls, _call(rest)))


def _apply(draft: _Draft, word: str, rest: str, line: str) -> None:
    directive = _DIRECTIVES.get(word)
    if directive is None:
        raise ScriptError(f"unknown directive: {line}")
    try:
        directive(draft, rest)
    except (ValueError, TypeError) as error:
        raise ScriptError(f"bad directive: {line} ({error})") from error


def _words(rest: str) -> str:
    return str(json.loads(rest)) if rest.startswith('"') else rest


def _chunks(count: int, size: int = DELTA_CHARS) -> Iterable[Say]:
    return (Say(f"{number:05d}".ljust(size, ".")[:size]) for number in range(count))


def _pair(rest: str) -> tuple[int, int]:
    first, second = map(int, rest.split())
    return first, second


def _call(rest: str) -> Call:
    name, _, arguments = rest.partition(" ")
    return Call(name, arguments.strip() or "{}")


_DIRECTIVES: dict[str, Callable[[_Draft, str], None]] = {
    "text": lambda draft, rest: draft.say([Say(_words(rest))]),
    "think": lambda draft, rest: draft.say([Say(_words(rest), thinking=True)]),
    "chunks": lambda draft, rest: draft.say(_chunks(*map(int, rest.split()))),
    "delay": lambda draft, rest: draft.pace(int(rest)),
    "gate": lambda draft, rest: draft.add([Await(rest)]),
    "hang": lambda draft, rest: draft.add([Hang()]),
    "drop": lambda draft, rest: draft.add([Drop()]),
    "status": lambda draft, rest: draft.change(refusal=Refusal(*map(int, rest.split()))),
    "usage": lambda draft, rest: draft.change(usage=_pair(rest)),
    "tool": lambda draft, rest: draft.call(rest),
    "also": lambda draft, rest: draft.also(rest),
}
