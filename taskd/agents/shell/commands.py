"""The rpc commands: one method each, one response each.

Rules: every line gets one response with its id, save extension_ui_response, which pi does not answer either; a bad line
gets a parse error and harms nobody (pi dies of `null`, this one does not). Responses to abort, new_session and
switch_session wait until the run is settled. Must not know of signals, pipes and exits.
"""

from __future__ import annotations

import os

from . import grammar
from . import messages as say
from .limits import ABORT_GRACE_S
from .pending import Pending
from .run import Run
from .session_file import SessionError, SessionFile, iso_now, new_uuid
from .wire import Raw, array, decode, encode, wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .loop import Loop

BUSY = "Agent is already processing. Specify streamingBehavior ('steer' or 'followUp') to queue the message."


class RefusedError(Exception):
    """A command that cannot be done; the text goes into the response."""


class Commands:
    """One session at a time, at most one run. `put` takes the lines that are said. Raises SessionError."""

    def __init__(self, loop: Loop, session_path: str | None, put: Callable[[Raw], None]) -> None:
        self.run: Run | None = None
        self._start_dir = os.getcwd()
        self._session = SessionFile.open(self._absolute(session_path), self._start_dir)
        self._loop = loop
        self._put = put
        self._shells = find_shells()
        self._pending = Pending()
        self._after_run: list[Callable[[], None]] = []
        self._table = self._command_table()

    def handle(self, line: bytes | None) -> None:
        """Do what a line says and answer it; None stands for a line that was too long."""
        try:
            command = decode(line)
        except ValueError as error:
            self._respond({}, "parse", error=f"Failed to parse command: {error}")
            return
        kind = command.get("type")
        if kind == "extension_ui_response":
            if self.run:
                self.run.answer_dialog(command)
            return
        do = self._table.get(kind) if isinstance(kind, str) else None
        if do is None:
            self._respond(command, kind, error=f"Unknown command: {kind if isinstance(kind, str) else 'undefined'}")
            return
        try:
            do(command)
        except RefusedError as error:
            self._respond(command, kind, error=str(error))

    def abandon(self, grace: float, save: bool = True) -> None:
        """The agent has to go: end the run untold, and forget what waits for its end."""
        self._after_run.clear()
        if self.run:
            self.run.abandon(grace, save)

    def _respond(
        self, command: dict[str, Any], kind: Any, data: Any = None, *, error: str = "", raw: Raw = b""
    ) -> None:
        """Answer `command`; `raw` is data that is encoded already."""
        line: dict[str, Any] = {"id": command["id"]} if "id" in command else {}
        line |= {"type": "response", **({"command": kind} if isinstance(kind, str) else {}), "success": not error}
        line |= {"error": error} if error else {"data": data} if data is not None else {}
        try:
            encoded = encode(line)
        except ValueError:  # an id that is no JSON, such as 1e999
            line.pop("id", None)
            encoded = encode(line)
        self._put(encoded[:-1] + b',"data":' + raw + b"}" if raw else encoded)

    def _command_table(self) -> dict[str, Callable[[dict[str, Any]], None]]:
        return {
            "prompt": self._prompt,
            "steer": self._steer,
            "follow_up": self._follow_up,
            "abort": self._abort,
            "clear_queue": self._clear_queue,
            "get_state": self._get_state,
            "get_session_stats": self._get_session_stats,
            "get_messages": self._get_messages,
            "get_commands": self._get_commands,
            "get_available_models": self._get_available_models,
            "set_model": self._set_model,
            "set_thinking_level": self._set_thinking_level,
            "set_session_name": self._set_session_name,
            "new_session": self._new_session,
            "switch_session": self._switch_session,
        }

    def _prompt(self, command: dict[str, Any]) -> None:
        if self.run:
            how = command.get("streamingBehavior")
            if how not in ("steer", "followUp"):
                raise RefusedError(BUSY)
            self._queue(command, self._pending.steering if how == "steer" else self._pending.follow_up)
            return
        text = _text(command, "message")
        self._respond(command, "prompt", {"disposition": "started"})
        self.run = Run(self._loop, self._session, self._pending, self._shell(), self._put, self._run_ended)
        self.run.start(text)

    def _steer(self, command: dict[str, Any]) -> None:
        self._queue(command, self._pending.steering)

    def _follow_up(self, command: dict[str, Any]) -> None:
        self._queue(command, self._pending.follow_up)

    def _queue(self, command: dict[str, Any], queue: list[str]) -> None:
        text = _text(command, "message")
        if not self._pending.has_room(text):
            raise RefusedError("Too many messages are queued")
        queue.append(text)
        self._tell_queue()
        self._respond(command, command["type"], {"disposition": "queued"})

    def _tell_queue(self) -> None:
        self._put(say.queue_update(self._pending.steering, self._pending.follow_up))

    def _clear_queue(self, command: dict[str, Any]) -> None:
        held = self._pending.clear()
        self._tell_queue()
        self._respond(command, "clear_queue", held)

    def _abort(self, command: dict[str, Any]) -> None:
        self._when_settled(lambda: self._respond(command, "abort"))

    def _when_settled(self, then: Callable[[], None]) -> None:
        """Abort the run, if there is one, and do `then` after its last event."""
        if self.run is None:
            then()
            return
        self._after_run.append(then)
        self.run.abort(ABORT_GRACE_S)

    def _run_ended(self) -> None:
        self.run = None
        waiting, self._after_run = self._after_run, []
        for then in waiting:
            then()

    def _get_state(self, command: dict[str, Any]) -> None:
        session = self._session
        state = {
            "model": say.model(os.path.basename(self._shell())),
            "thinkingLevel": "off",
            "isStreaming": self.run is not None,
            "isCompacting": False,
            "steeringMode": "one-at-a-time",
            "followUpMode": "one-at-a-time",
            **({"sessionFile": session.path} if session.path else {}),
            "sessionId": session.id,
            **({"sessionName": session.name} if session.name else {}),
            "autoCompactionEnabled": False,
            "messageCount": session.message_count,
            "pendingMessageCount": len(self._pending),
        }
        self._respond(command, "get_state", state)

    def _get_session_stats(self, command: dict[str, Any]) -> None:
        counts = self._session.counts
        stats = {
            **({"sessionFile": self._session.path} if self._session.path else {}),
            "sessionId": self._session.id,
            "userMessages": counts["user"],
            "assistantMessages": counts["assistant"],
            "toolCalls": counts["toolCalls"],
            "toolResults": counts["toolResult"],
            "totalMessages": self._session.message_count,
            "tokens": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "total": 0},
            "cost": 0,
        }
        self._respond(command, "get_session_stats", stats)

    def _get_messages(self, command: dict[str, Any]) -> None:
        try:
            messages = array(self._session.messages())
        except SessionError as error:
            raise RefusedError(str(error)) from None
        self._respond(command, "get_messages", raw=wrap('{"messages":', messages))

    def _get_commands(self, command: dict[str, Any]) -> None:
        known = [{"name": name, "description": text, "source": "builtin"} for name, text in grammar.COMMANDS]
        self._respond(command, "get_commands", {"commands": known})

    def _get_available_models(self, command: dict[str, Any]) -> None:
        self._respond(command, "get_available_models", {"models": [say.model(name) for name in self._shells]})

    def _set_model(self, command: dict[str, Any]) -> None:
        provider, name = command.get("provider"), command.get("modelId")
        if provider != say.PROVIDER or name not in self._shells:
            raise RefusedError(f"Model not found: {provider}/{name}")
        self._session.append("model_change", provider=provider, modelId=name)
        if self.run:
            self.run.use_shell(self._shell())
        self._respond(command, "set_model", say.model(name))

    def _set_thinking_level(self, command: dict[str, Any]) -> None:
        # As pi with a model that does not reason: accepted, and the level stays off.
        self._respond(command, "set_thinking_level")

    def _set_session_name(self, command: dict[str, Any]) -> None:
        name = _text(command, "name")
        self._session.append("session_info", name=name)
        self._put(encode({"type": "session_info_changed", "name": name}))
        self._respond(command, "set_session_name")

    def _new_session(self, command: dict[str, Any]) -> None:
        self._when_settled(lambda: self._open(command, self._fresh_path(), self._session.cwd))

    def _switch_session(self, command: dict[str, Any]) -> None:
        path = self._absolute(_text(command, "sessionPath"))
        self._when_settled(lambda: self._open(command, path, self._start_dir))

    def _open(self, command: dict[str, Any], path: str | None, directory: str) -> None:
        try:
            self._session = SessionFile.open(path, directory)
        except SessionError as error:
            self._respond(command, command["type"], error=str(error))
        else:
            self._respond(command, command["type"], {"cancelled": False})

    def _fresh_path(self) -> str | None:
        if not self._session.path:
            return None
        stamp = iso_now().replace(":", "-").replace(".", "-")
        return os.path.join(os.path.dirname(self._session.path), f"{stamp}_{new_uuid()}.jsonl")

    def _absolute(self, path: str | None) -> str | None:
        # Against the directory of the start: the process follows its commands around.
        return os.path.join(self._start_dir, path) if path else None

    def _shell(self) -> str:
        """The path of the session's shell, the best one when the session names none that is here."""
        return self._shells.get(self._session.model or "") or next(iter(self._shells.values()))


def find_shells() -> dict[str, str]:
    """The models: name to path, the preferred one first. `sh` is always there."""
    folders = [*os.environ.get("PATH", "").split(":"), "/usr/bin", "/bin"]
    found = {}
    for name in ("bash", "sh"):
        paths = (f"{folder}/{name}" for folder in folders if folder.startswith("/"))
        if path := next((path for path in paths if os.access(path, os.X_OK)), None):
            found[name] = path
    return found or {"sh": "/bin/sh"}


def _text(command: dict[str, Any], field: str) -> str:
    value = command.get(field)
    if not isinstance(value, str):
        raise RefusedError(f"{field} must be a string")
    return value
