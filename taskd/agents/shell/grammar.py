"""What a prompt means. Pure: text in, one of five small values out.

Must not know how anything is run. A leading slash alone does not make a command of ours (`/bin/ls` is a program): only
the exact words below do.
"""

from __future__ import annotations

HELP = """\
Every prompt is a shell command, run in the task's directory.

  ls -l                     its output is the answer
  !tool make test           the same, shown as a tool execution
  /ask Title | one | two    a question with choices
  /confirm Really?          a yes or no question
  /input Your name          a question with a free answer
  /help                     this list

`cd` lasts from prompt to prompt. A running command is ended by abort; steer and follow-up run when it is done.
"""

USAGE = "usage: /ask Title | first option | second option\n"

COMMANDS = (
    ("help", "What the built-in agent can do"),
    ("ask", "Ask with choices: /ask Title | one | two"),
    ("confirm", "Ask yes or no: /confirm Really?"),
    ("input", "Ask for a line of text: /input Your name"),
)
"""The words after the slash and their descriptions, for `get_commands`."""


class Script:
    """A shell script to run; `as_tool` shows it as a tool execution instead of as the answer's text."""

    __slots__ = ("as_tool", "text")

    def __init__(self, text: str, as_tool: bool = False) -> None:
        self.text = text
        self.as_tool = as_tool


class Dialog:
    """A question to the user; `fields` are those of the extension_ui_request beside its type and id."""

    __slots__ = ("fields",)

    def __init__(self, **fields: str | list[str]) -> None:
        self.fields = fields


class Say:
    """A fixed answer."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def parse(prompt: str) -> Script | Dialog | Say:
    """What `prompt` asks for; anything that is not ours is a script."""
    word, _, rest = prompt.strip().partition(" ")
    rest = rest.strip()
    if word == "/help" and not rest:
        return Say(HELP)
    if word == "/ask":
        return _ask(rest)
    if word == "/confirm":
        return Dialog(method="confirm", title=rest or "Confirm", message=rest)
    if word == "/input":
        return Dialog(method="input", title=rest or "Input", placeholder="")
    if prompt.lstrip().startswith("!tool") and prompt.lstrip()[5:6].isspace():
        return Script(prompt.lstrip()[6:], as_tool=True)
    return Script(prompt)


def _ask(rest: str) -> Dialog | Say:
    title, *options = [part.strip() for part in rest.split("|")]
    options = [option for option in options if option]
    return Dialog(method="select", title=title, options=options) if options else Say(USAGE)


def outcome(reply: dict[str, object]) -> str:
    """The answer text for an `extension_ui_response`: the value, yes or no, or that the dialog was cancelled."""
    if reply.get("cancelled"):
        return "[cancelled]\n"
    if isinstance(value := reply.get("value"), str):
        return value + "\n"
    if isinstance(confirmed := reply.get("confirmed"), bool):
        return "yes\n" if confirmed else "no\n"
    return "[cancelled]\n"
