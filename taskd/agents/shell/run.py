"""One run: from a prompt to agent_settled, with the turns that steering and follow-ups add to it.

Knows the order of events and what is saved when; must not know the rpc commands. Rules:
a message is saved before its message_end is told, so what was told is on file; after `abort` nothing more of the
command's output is shown; every run ends with agent_end and agent_settled, unless the agent itself has to go
(`abandon`), which tells nothing. `on_end` is called once.
"""

from __future__ import annotations

import os
import time

from . import messages as say
from .answer import Answer, ToolUse
from .command import CannotStartError, Command
from .grammar import Dialog, Say, Script, outcome, parse
from .limits import RECENT_BYTES
from .session_file import DIRECTORY_ENTRY, new_uuid
from .wire import Raw, Recent, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .loop import Loop
    from .pending import Pending
    from .session_file import SessionFile


class Run:
    """Everything that follows from one prompt. `shell` is the path of the shell, `tell` takes event lines."""

    def __init__(
        self,
        loop: Loop,
        session: SessionFile,
        pending: Pending,
        shell: str,
        tell: Callable[[Raw], None],
        on_end: Callable[[], None],
    ) -> None:
        self.loop = loop
        self.tell = tell
        self.command: Command | None = None
        self.aborted = False
        self._session = session
        self._pending = pending
        self._shell = shell
        self._on_end = on_end
        self._messages = Recent(RECENT_BYTES)
        self._shown: Answer | ToolUse | None = None
        self._dialog: str | None = None
        self._abandoned = False

    # -- for the agent -------------------------------------------------------------------------------------------------

    def start(self, prompt: str) -> None:
        """Begin; the rest follows from the loop."""
        self.tell(say.AGENT_START)
        self._turn(prompt)

    def abort(self, grace: float) -> None:
        """End the turn as aborted: at once, or when the command has died."""
        self.aborted = True
        self._dialog = None
        if self.command:
            self.command.stop(grace)
        elif self._shown:
            self._shown.aborted()

    def abandon(self, grace: float, save: bool = True) -> None:
        """Tell nothing more; save what there is as aborted, then end the command. `on_end` follows."""
        self.tell = _silent
        self._abandoned = True
        if self._shown and save:
            self._shown.save_partial()
        if self.command:
            self.command.stop(grace)
        else:
            self._on_end()

    def answer_dialog(self, reply: dict[str, Any]) -> None:
        """The user's reply; one that was not asked for is ignored."""
        if self._dialog and reply.get("id") == self._dialog and isinstance(self._shown, Answer):
            self._dialog = None
            self._shown.say(outcome(reply))

    def use_shell(self, shell: str) -> None:
        """The next command of this run uses another shell."""
        self._shell = shell

    # -- for the answers -----------------------------------------------------------------------------------------------

    @property
    def shell(self) -> str:
        """The model id: the name of the shell."""
        return os.path.basename(self._shell)

    def now(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def keep(self, message: dict[str, Any]) -> Raw:
        """Save a finished message and tell that it is finished; its encoded form. Raises SessionError."""
        raw = encode(message)
        self._session.append_message(message, raw)
        self._messages.add(raw)
        self.tell(say.message_end(raw))
        return raw

    def answer(self) -> Answer:
        """A new text answer is shown now."""
        self._shown = answer = Answer(self)
        return answer

    def turn_went_on(self, message: Raw, result: Raw) -> None:
        """A turn closed with a tool result: the answer to it is a turn of its own."""
        self.tell(say.turn_end(message, [result]))
        self.tell(say.TURN_START)

    def turn_ended(self, message: Raw) -> None:
        """A turn closed with an answer: what is queued comes next, else the run is over."""
        self.tell(say.turn_end(message))
        self._shown = None
        prompt = None if self.aborted else self._pending.take()
        if prompt is not None:
            self._turn(prompt, queued=True)
            return
        self.tell(say.agent_end(self._messages))
        self.tell(say.settled(self.aborted))
        self._on_end()

    # -- turns ---------------------------------------------------------------------------------------------------------

    def _turn(self, prompt: str, queued: bool = False) -> None:
        self.tell(say.TURN_START)
        if queued:
            self.tell(say.queue_update(self._pending.steering, self._pending.follow_up))
        message = say.user(prompt, self.now())
        self.tell(say.message_start(encode(message)))
        self.keep(message)
        self._pursue(parse(prompt))

    def _pursue(self, task: Script | Dialog | Say) -> None:
        if isinstance(task, Script):
            self._shown = shown = ToolUse(self, task.text) if task.as_tool else Answer(self)
            self._run(task.text, shown)
        elif isinstance(task, Dialog):
            self.answer()
            self._dialog = new_uuid()
            self.tell(encode({"type": "extension_ui_request", "id": self._dialog, **task.fields}))
        else:
            self.answer().say(task.text)

    def _run(self, script: str, shown: Answer | ToolUse) -> None:
        try:
            self.command = Command(self.loop, self._shell, script, self._directory(), shown.output, self._command_ended)
        except CannotStartError as error:
            shown.failed(str(error))

    def _directory(self) -> str:
        """Where the last command ended, or the session's own directory when that is gone."""
        directory = self._session.directory
        return directory if os.path.isdir(directory) else self._session.cwd

    def _command_ended(self, code: int, directory: str | None) -> None:
        self.command = None
        if self._abandoned:
            self._on_end()
        elif self._shown and self.aborted:
            self._shown.aborted()
        elif self._shown:
            if directory and directory != self._session.directory and os.path.isdir(directory):
                self._session.append("custom", customType=DIRECTORY_ENTRY, data={"cwd": directory})
            self._shown.ended(code)


def _silent(line: Raw) -> None:
    """Told to nobody."""
