"""The process of the fake pi: command lines in, responses out, one run at a time, and pi's ways of ending.

End of stdin: exit 0; SIGTERM 143; SIGHUP 129; SIGINT kills at once; no closing events on any of them. The line `null`
kills it, as it kills pi. An abort while a dialog is open is answered only after the dialog, as with pi.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import misdeeds, script
from .flood import write_all
from .script import Step
from .session import Session, SessionError
from .talk import MODELS, Json, Talk, encode
from .turn import Run
from .waits import SOON, TICK, AbortedError, Waits, dialog

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_MS = 5
"""How often a gate or a tool is looked at."""
BUSY = "Agent is already processing. Specify streamingBehavior ('steer' or 'followUp') to queue the message."
INSTANT = "@instant"
"""The whole prompt for a turn that costs the fake nearly nothing."""
PLAIN = frozenset(
    ["set_steering_mode", "set_follow_up_mode", "set_auto_compaction", "set_auto_retry", "abort_retry", "abort_bash"]
)
"""Commands that are only acknowledged."""


class FakePi:
    """One process."""

    def __init__(self, dialect: str, session_path: str | None) -> None:
        self.talk = Talk(dialect)
        self.start_dir = os.getcwd()
        self.session = Session(session_path, self.start_dir, self.talk.old)
        self.steering: list[str] = []
        self.follow_up: list[str] = []
        self.replies: dict[str, Json] = {}
        self.open_dialogs: set[str] = set()
        self.ignores: set[str] = set()
        self.muted: set[str] = set()
        self.models_fail = False
        self.swaps_responses = False
        self.stdout_open = True
        self.after_run: list[Json] = []
        self._out = bytearray()
        self._instant = b""
        self._held: Json | None = None
        self._run: Run | None = None
        self._going: Waits | None = None
        self._wait = SOON
        self._after_abort: list[Callable[[], None]] = []
        self._aborting = False
        self._begun = False
        self._rest = b""
        self._listening = True
        self._models = [model for model in MODELS if model["id"] == self._settings().get("defaultModel")] or MODELS
        if not self.session.messages and self.session.model is None:
            self.session.append("model_change", provider="mock", modelId=self._models[0]["id"])
            self.session.append("thinking_level_change", thinkingLevel="off")

    # -- the process ---------------------------------------------------------------------------------------------------

    def serve(self, start: str) -> None:
        """Work until the end; does not return."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, lambda *_: self._told_to_go(143))
        signal.signal(signal.SIGHUP, lambda *_: self._told_to_go(129))
        poll = select.poll()
        self._begin(start)
        while True:
            timeout = self._advance()
            self.flush()
            if self._listening:
                poll.register(0, select.POLLIN | select.POLLHUP)
            if poll.poll(timeout):
                self._hear()
            if self._listening:
                poll.unregister(0)

    def place(self, name: str) -> Path:
        """A path of a directive, relative to the session's dir."""
        return Path(self.session.cwd, name)

    def new_id(self) -> str:
        """An id for a dialog."""
        return str(uuid.uuid4())

    def forget_stdin(self) -> None:
        """Read no more."""
        self._listening = False

    def tell(self, event: Json) -> None:
        """Say one line."""
        self._out += encode(event)
        self._out += b"\n"

    def tell_queue(self) -> None:
        """Say what is queued."""
        self.tell({"type": "queue_update", "steering": self.steering, "followUp": self.follow_up})

    def flush(self) -> None:
        """Write what was said; blocks as long as the reader does not read."""
        data, self._out = bytes(self._out), bytearray()
        if data and self.stdout_open:
            try:
                write_all(1, data)
            except BrokenPipeError:
                self._leave(0)

    def _begin(self, start: str) -> None:
        """What happens before the first command is read; blocks."""
        hidden = Path(self.session.cwd, ".fake_pi")
        text = start + "\n" + (hidden.read_text() if hidden.exists() else "")
        for step in script.parse(text) if "@" in text else ():
            if step.name == "gate":
                while not self.place(step.rest.strip()).exists():
                    select.poll().poll(POLL_MS)
            elif step.name == "reach":
                self.place(step.rest.strip()).touch()
            else:
                misdeeds.commit(self, step.name, step.rest)

    def _told_to_go(self, code: int) -> None:
        if "term" not in self.ignores:
            self._leave(code)

    def _leave(self, code: int) -> None:
        if self._run:
            self._run.save_aborted()
            if code or not self.talk.old:
                self._run.kill_tools()  # the old one leaves them behind when its input ends
        os._exit(code)

    # -- the run -------------------------------------------------------------------------------------------------------

    def _advance(self) -> int | None:
        """Go on with the run as far as it goes; how long to sleep, in ms."""
        while self._going:
            abort = self._run is not None and bool(self._after_abort) and not self._aborting and self._nobody_asked()
            # A run that was not begun, because its prompt and the abort came in one read, is begun first.
            abort = abort and self._begun
            if not abort and not self._wait.ready():
                return POLL_MS if self._wait.polled else None
            try:
                if abort:
                    self._aborting = True
                    self._wait = self._going.throw(AbortedError())
                else:
                    self._wait = next(self._going)
                    self._begun = True
            except StopIteration:
                self._run_ended()
                continue
            if self._wait is SOON or self._wait is TICK:
                return 0 if self._wait is SOON else POLL_MS
        return None

    def _nobody_asked(self) -> bool:
        """Whether every open dialog has its reply; pi aborts no earlier."""
        return not self.open_dialogs - self.replies.keys()

    def _run_ended(self) -> None:
        self._run, self._going, self._wait, self._aborting, self._begun = None, None, SOON, False, False
        waiting, self._after_abort = self._after_abort, []
        for then in waiting:
            then()

    def _when_aborted(self, then: Callable[[], None]) -> None:
        if self._run:
            self._after_abort.append(then)
        else:
            then()

    # -- commands ------------------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        data = os.read(0, 1 << 20)
        if not data:
            self._listening = False
            if "eof" not in self.ignores:
                self.flush()
                self._leave(0)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._command(line)

    def _command(self, line: bytes) -> None:
        try:
            command = json.loads(line)
        except ValueError as error:
            text = f"Failed to parse command: {error}"
            self.tell({"type": "response", "command": "parse", "success": False, "error": text})
            return
        if command is None and "null" not in self.ignores:
            self.flush()
            os.write(2, b"TypeError: Cannot read properties of null\n")
            os._exit(1)
        kind = command.get("type") if isinstance(command, dict) else None
        if kind is None:
            self.tell({"type": "response", "success": False, "error": "Unknown command: undefined"})
        elif kind == "extension_ui_response":
            self.replies[str(command.get("id"))] = command
        elif kind in PLAIN:
            self._respond(command)
        else:
            getattr(self, f"_do_{kind}", self._unknown)(command)

    def _respond(self, command: Json, data: Any = None, error: str | None = None) -> None:
        kind = command["type"]
        if kind in self.muted or "*" in self.muted:
            return
        line: Json = {"id": command["id"]} if "id" in command else {}
        line |= {"type": "response", "command": kind, "success": error is None}
        line |= {"error": error} if error is not None else {} if data is None else {"data": data}
        if not self.swaps_responses:
            self.tell(line)
        elif self._held is None:
            self._held = line
        else:
            self.tell(line)
            self.tell(self._held)
            self._held = None

    def _unknown(self, command: Json) -> None:
        if self.talk.old:  # before 0.79.7 the id is lost
            command = {"type": command["type"]}
        self._respond(command, error=f"Unknown command: {command['type']}")

    def _disposition(self, command: Json, what: str) -> None:
        self._respond(command, None if self.talk.old else {"disposition": what})

    def _do_prompt(self, command: Json) -> None:
        if self._going:
            how = command.get("streamingBehavior")
            if how is None:
                self._respond(command, error=BUSY)
            else:
                self._queue(command, self.steering if how == "steer" else self.follow_up)
            return
        prompt = command["message"]
        if prompt == "/ask":
            self._going = self._ask_everything(command)
            return
        if prompt == INSTANT:
            self._disposition(command, "started")
            self._out += self._instant_turn()
            return
        steps = {step.name: step.rest for step in script.parse(prompt)}
        if "refuse" in steps:
            self._respond(command, error=steps["refuse"])
            return
        if "silent" not in steps:
            self._disposition(command, "started")
        self._run = Run(self)
        self._going = self._run.go(prompt)

    def _instant_turn(self) -> bytes:
        """The events of a small turn, made once; nothing of it is remembered."""
        if not self._instant:
            out, session = self._out, self.session
            self._out, self.session = bytearray(), Session(None, session.cwd, self.talk.old)
            self.session.messages.append({"role": "system"})
            for _ in Run(self).go("@text ok"):
                pass
            self._instant, self._out, self.session = bytes(self._out), out, session
        return self._instant

    def _ask_everything(self, command: Json) -> Waits:
        """The extension command `/ask`: every kind of dialog; no run."""
        questions = (
            ("select", {"title": "Pick one", "options": ["red", "green"]}),
            ("confirm", {"title": "Sure?", "message": "really"}),
            ("input", {"title": "Name", "placeholder": "name"}),
        )
        for method, fields in questions:
            yield from dialog(self, Step(method, json.dumps(fields)))
        yield from dialog(self, Step("notify", "asked"))
        self._disposition(command, "handled")

    def _queue(self, command: Json, queue: list[str]) -> None:
        queue.append(command["message"])
        self.tell_queue()
        self._disposition(command, "queued")

    def _do_steer(self, command: Json) -> None:
        self._queue(command, self.steering)

    def _do_follow_up(self, command: Json) -> None:
        self._queue(command, self.follow_up)

    def _do_clear_queue(self, command: Json) -> None:
        held = {"steering": list(self.steering), "followUp": list(self.follow_up)}
        self.steering.clear()
        self.follow_up.clear()
        self.tell_queue()
        self._respond(command, held)

    def _do_abort(self, command: Json) -> None:
        self._when_aborted(lambda: self._respond(command))

    def _do_get_state(self, command: Json) -> None:
        session = self.session
        state = {
            "model": self.model,
            "thinkingLevel": session.level,
            "isStreaming": self._run is not None,
            "isCompacting": False,
            "steeringMode": "one-at-a-time",
            "followUpMode": "one-at-a-time",
            **({"sessionFile": session.path} if session.path else {}),
            "sessionId": session.id,
            **({"sessionName": session.name} if session.name else {}),
            "autoCompactionEnabled": True,
            "messageCount": len(session.messages),
            "pendingMessageCount": len(self.steering) + len(self.follow_up),
        }
        self._respond(command, state)

    def _do_get_session_stats(self, command: Json) -> None:
        roles = [message["role"] for message in self.session.messages]
        usages = [message["usage"] for message in self.session.messages if message["role"] == "assistant"]
        calls = [message for message in self.session.messages if message.get("stopReason") == "toolUse"]
        tokens = {kind: sum(usage[kind] for usage in usages) for kind in ("input", "output", "cacheRead", "cacheWrite")}
        stats = {
            **({"sessionFile": self.session.path} if self.session.path else {}),
            "sessionId": self.session.id,
            "userMessages": roles.count("user"),
            "assistantMessages": roles.count("assistant"),
            "toolCalls": sum(block["type"] == "toolCall" for call in calls for block in call["content"]),
            "toolResults": roles.count("toolResult"),
            "totalMessages": len(roles),
            "tokens": {**tokens, "total": sum(tokens.values())},
            "cost": 0,
            "contextUsage": {"tokens": sum(tokens.values()), "contextWindow": 128000, "percent": 0.5},
        }
        self._respond(command, stats)

    def _do_get_messages(self, command: Json) -> None:
        self._respond(command, {"messages": self.session.messages})

    def _do_get_commands(self, command: Json) -> None:
        self._respond(command, {"commands": [{"name": "ask", "description": "Ask everything", "source": "extension"}]})

    def _do_get_available_models(self, command: Json) -> None:
        self._respond(command, {"models": MODELS})

    def _do_set_model(self, command: Json) -> None:
        name = f"{command.get('provider')}/{command.get('modelId')}"
        model = next((model for model in MODELS if name == f"mock/{model['id']}"), None)
        if model is None or self.models_fail:
            self._respond(command, error=f"Model not found: {name}")
            return
        self.session.append("model_change", provider="mock", modelId=model["id"])
        if self.talk.old and (folder := os.environ.get("PI_CODING_AGENT_DIR")):
            # The old pi changes the default of everybody who shares this folder.
            settings = {**self._settings(), "defaultProvider": "mock", "defaultModel": model["id"]}
            Path(folder, "settings.json").write_text(json.dumps(settings))
        self._respond(command, model)

    def _do_set_thinking_level(self, command: Json) -> None:
        level = command.get("level") if self.model["reasoning"] else "off"
        if level != self.session.level:
            self.session.append("thinking_level_change", thinkingLevel=level)
        self._respond(command)

    def _do_set_session_name(self, command: Json) -> None:
        self.session.append("session_info", name=command["name"])
        self.tell({"type": "session_info_changed", "name": command["name"]})
        self._respond(command)

    def _do_new_session(self, command: Json) -> None:
        path = self.session.path
        fresh = str(Path(path).with_name(f"new_{uuid.uuid4()}.jsonl")) if path else None
        self._when_aborted(lambda: self._open(command, fresh, self.session.cwd))

    def _do_switch_session(self, command: Json) -> None:
        path = os.path.join(self.start_dir, command["sessionPath"])
        self._when_aborted(lambda: self._open(command, path, self.start_dir))

    def _open(self, command: Json, path: str | None, directory: str) -> None:
        try:
            self.session = Session(path, directory, self.talk.old)
        except SessionError as error:
            self._respond(command, error=str(error))
        else:
            self._respond(command, {"cancelled": False})

    def _do_bash(self, command: Json) -> None:
        from subprocess import DEVNULL, PIPE, STDOUT, run

        argv = ["/bin/sh", "-c", command["command"]]
        ran = run(argv, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, cwd=self.session.cwd, check=False)
        output = ran.stdout.decode("utf-8", "replace")
        if output and not self.talk.old:
            self.tell({"type": "bash_execution_update", "id": command.get("id"), "delta": output})
        done = {"output": output, "exitCode": ran.returncode, "cancelled": False, "truncated": False}
        self._respond(command, done)

    @property
    def model(self) -> Json:
        """The session's model, else the default one."""
        return next((model for model in MODELS if model["id"] == self.session.model), self._models[0])

    def retry_plan(self) -> tuple[int, int]:
        """How often pi tries again, and the first pause in ms: 3 times at once, unless the settings say otherwise."""
        plan = self._settings().get("retry", {})
        return (plan.get("maxRetries", 3) if plan.get("enabled", True) else 0), plan.get("baseDelayMs", 0)

    def _settings(self) -> Json:
        path = Path(os.environ.get("PI_CODING_AGENT_DIR", "/nonexistent"), "settings.json")
        settings: Json = json.loads(path.read_text()) if path.exists() else {}
        return settings


def _option(arguments: list[str], name: str, default: str | None) -> str | None:
    return arguments[arguments.index(name) + 1] if name in arguments else default


def main(arguments: list[str]) -> None:
    """Run the fake with pi's arguments; exits."""
    path = None if "--no-session" in arguments else _option(arguments, "--session", None)
    absolute = os.path.join(os.getcwd(), path) if path else None
    try:
        pi = FakePi(_option(arguments, "--dialect", "1.5") or "1.5", absolute)
        pi.serve(_option(arguments, "--start", "") or "")
    except SessionError as error:
        sys.exit(str(error))
    except script.UnknownDirectiveError as error:
        os.write(2, f"unknown directive: @{error}\n".encode())
        os._exit(70)
