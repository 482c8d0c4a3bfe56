"""The codec of pi's rpc mode: bytes of one incarnation to what was said, and commands to bytes.

Nothing is configured about the version. Both forms of the wire are read alike (`pi_lines`), and what ends a turn is
learnt (`pi_turn`). The handshake is in `pi_greeting`; commands get their words in `pi_commands`, messages become
neutral in `pi_messages`, cumulative tool output becomes deltas in `pi_tools`.

It must not know tasks, hosts or processes. Rules: lines end at byte 0x0A and nowhere else; answers are found by their
id, in any order; no answer is expected to `extension_ui_response`; deltas that came together are told together, and
nothing else changes its place; nothing raises for what pi wrote.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from taskd.agents import pi_lines, pi_wire
from taskd.agents.base import Opening
from taskd.agents.pi_commands import Fields, fields_of
from taskd.agents.pi_greeting import ABILITIES, Greeting, greet
from taskd.agents.pi_lines import data_of
from taskd.agents.pi_messages import args_of, asked, message_ended, model_of, short, text_of, whole, words
from taskd.agents.pi_tools import ToolBook
from taskd.agents.pi_turn import TurnWatch
from taskd.agents.pi_wire import Disposition, ModelData, ModelList, Queues, Response, State, Update
from taskd.model import agent
from taskd.model.limits import Limits
from taskd.wire.framing import LineSplitter, TooLong

MAX_PENDING: Final = 256
"""Commands without an answer that are remembered; pi answers within milliseconds. The oldest is forgotten above it."""

TEXT_BYTES_PER_CHAR: Final = 4
"""The most that one character takes in memory; turns a bound in bytes into one in characters."""

RUN_BYTES: Final = 4096
"""A chunk with as much between its first and last newline is tried as a run of deltas; below, it would not pay."""

TOO_LATE: Final = "the turn was over before it could be heard"
"""The answer to a message that came when nothing ran any more."""

_KINDS: Final = {"text_delta": "text", "thinking_delta": "thinking"}


MAX_NOISE: Final = 4
"""Unreadable lines of one piece that are told one by one; of more only the number. A program that is no agent at all
may print a hundred thousand of them in one read."""


class _Pending(NamedTuple):
    """A command that waits for its answer, and who takes it."""

    command: str
    take: Callable[[Response], None]


class PiCodec:
    """One incarnation's tongue. See `base.AgentCodec`."""

    def __init__(self, opening: Opening, limits: Limits, *, keep_raw: bool) -> None:
        self.abilities = ABILITIES
        self._limits = limits
        self._splitter = LineSplitter(limits.agent_line_bytes)
        self._greeting: Greeting = greet(opening)
        self._tools = ToolBook(limits.tool_output_bytes // TEXT_BYTES_PER_CHAR)
        self._turn = TurnWatch()
        self._pending: dict[str, _Pending] = {}
        self._late: list[int] = []
        """Tags of messages that were queued when their turn was over, and are being taken back."""
        self._last_id = 0
        self._out: list[bytes] = []
        self._said: list[agent.Said] = []
        self._text: list[str] = []
        self._text_kind = ""
        self.keep_raw = keep_raw
        self._raw: list[bytes] = []
        self._noises = 0

    def start(self) -> None:
        """Queue the handshake."""
        self._ask(next(self._greeting), self._greet_on)

    def send(self, command: agent.Command) -> None:
        """Queue a command."""
        fields = fields_of(command)
        if isinstance(command, agent.AnswerQuestion):
            self._out.append(pi_lines.write(fields))
        else:
            self._ask(fields, self._taker(command))

    def feed(self, data: bytes) -> list[agent.Said]:
        """Take bytes of pi's stdout; `b""` means its end."""
        self._raw = []
        self._noises = 0
        if data:
            self._read(data)
        elif torn := self._splitter.finish():
            self._say(pi_lines.noise("torn line at the end", torn))
        self._tell_text()
        if self._noises > MAX_NOISE:
            self._say(agent.Noise(f"{self._noises - MAX_NOISE} more lines that could not be read"))
        self._ask_back()
        said, self._said = self._said, []
        return said

    def raw_lines(self) -> list[bytes]:
        """Give pi's own lines of the last `feed`: all messages but the answers to our commands."""
        return self._raw

    def outgoing(self) -> bytes:
        """Give, once, what is to be written to pi's stdin."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    # Reading --------------------------------------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        """Read a chunk. If it is long and mostly of whole lines, it is likely to be a run of deltas."""
        first, last = data.find(b"\n"), data.rfind(b"\n")
        if last - first >= max(RUN_BYTES, len(data) // 2) and len(data) <= self._limits.agent_line_bytes:
            self._take(self._splitter.feed(data[: first + 1]))
            self._take_run(data[first + 1 : last + 1])
            data = data[last + 1 :]
        self._take(self._splitter.feed(data))

    def _take_run(self, block: bytes) -> None:
        deltas = pi_lines.read_run(block)
        if deltas is None:
            self._take(self._splitter.feed(block))
            return
        for delta in deltas:
            event = delta.assistant_message_event
            if event.delta:
                if event.kind != self._text_kind:
                    self._tell_text()
                    self._text_kind = event.kind
                self._text.append(event.delta)
        if self.keep_raw:
            self._raw += [line for line in block[:-1].split(b"\n") if self._may_repeat(line)]

    def _take(self, lines: list[bytes | TooLong]) -> None:
        """Read lines. The first branch is the hot path when deltas come one by one."""
        read, keep_raw = pi_lines.read, self.keep_raw
        for line in lines:
            if not isinstance(line, bytes):
                self._lost(agent.Noise("line too long"))
                continue
            if self._noises >= MAX_NOISE and not line.lstrip().startswith(b"{"):
                self._noises += 1
                continue
            item = read(line)
            if type(item) is Update:
                growth = item.assistant_message_event
                if growth is not None and growth.delta and (kind := _KINDS.get(growth.type)):
                    if kind != self._text_kind:
                        self._tell_text()
                        self._text_kind = kind
                    self._text.append(growth.delta)
            elif not self._hear(item):
                continue
            if keep_raw and self._may_repeat(line):
                self._raw.append(line)

    def _may_repeat(self, line: bytes) -> bool:
        """Say whether a line is short enough and UTF-8; what was skipped in reading it has not been looked at."""
        return len(line) <= self._limits.raw_line_bytes and (line.isascii() or _is_text(line))

    def _hear(self, item: pi_wire.Known | pi_wire.Other | agent.Noise) -> bool:
        """Take one line that is no delta; say whether hosts that want pi's own lines want this one."""
        if isinstance(item, agent.Noise):
            self._lost(item)
            return False
        if isinstance(item, Response):
            return not self._answered(item)
        hear = _HEAR.get(type(item))
        if hear is not None:
            hear(self, item)
        return True

    def _lost(self, noise: agent.Noise) -> None:
        self._noises += 1
        if self._noises <= MAX_NOISE:
            self._say(noise)
            self._turn.line_lost()

    def _tell_text(self) -> None:
        if self._text:
            self._said.append(agent.TextDelta("".join(self._text), self._text_kind))
            self._text = []

    def _say(self, said: agent.Said | None) -> None:
        if said is not None:
            self._tell_text()
            self._said.append(said)

    def _end(self, ended: agent.TurnEnded | None) -> None:
        if ended is not None:
            self._tools.clear()
            self._say(ended)

    # What pi tells --------------------------------------------------------------------------------------------------

    def _run_started(self, line: pi_wire.RunStart) -> None:
        self._turn.run_started()

    def _run_ended(self, line: pi_wire.RunEnd) -> None:
        self._turn.run_ended(line.will_retry)

    def _settled(self, line: pi_wire.Settled) -> None:
        self._end(self._turn.settled(line.aborted))

    def _retry_started(self, line: pi_wire.RetryStart) -> None:
        self._turn.retry_started()

    def _retry_ended(self, line: pi_wire.RetryEnd) -> None:
        self._turn.retry_ended()

    def _compaction_ended(self, line: pi_wire.CompactionEnd) -> None:
        self._turn.compaction_ended(bytes(line.result) != bytes(pi_wire.NULL), line.will_retry)

    def _queue_changed(self, line: pi_wire.QueueUpdate) -> None:
        self._turn.queue_changed(bool(line.steering or line.follow_up))

    def _message_ended(self, line: pi_wire.MessageEnd) -> None:
        message = line.message
        if message is None:
            return
        if message.role == "assistant":
            self._turn.assistant_ended(message.stop_reason or "", words(message.error_message))
        self._say(message_ended(message, self._limits.turn_text_bytes))

    def _tool_started(self, line: pi_wire.ToolStart) -> None:
        call_id, name = short(line.tool_call_id), short(line.tool_name)
        self._tools.started(call_id, name)
        self._say(agent.ToolStarted(call_id, name, args_of(line.args, self._limits.turn_text_bytes)))

    def _tool_shows(self, line: pi_wire.ToolUpdate) -> None:
        self._say(self._tools.shows(short(line.tool_call_id), text_of(line.partial_result)))

    def _tool_ended(self, line: pi_wire.ToolEnd) -> None:
        call_id = short(line.tool_call_id)
        self._say(self._tools.shows(call_id, text_of(line.result)))
        name = self._tools.ended(call_id)
        duration = whole(line.duration_ms)
        self._say(agent.ToolEnded(call_id, short(line.tool_name) or name, bool(line.is_error), duration))

    def _asked(self, line: pi_wire.Question) -> None:
        self._say(asked(line))

    # What pi answers ------------------------------------------------------------------------------------------------

    def _answered(self, response: Response) -> bool:
        """Give an answer to who waits for it; say whether anybody did."""
        pending = self._pending.pop(self._waiting_for(response), None)
        if pending is not None:
            pending.take(response)
        elif response.command == "parse":
            self._say(agent.Noise("pi could not read a command", words(response.error)))
        return pending is not None

    def _waiting_for(self, response: Response) -> str:
        if response.id is not None:
            return response.id if isinstance(response.id, str) else ""
        # Before 0.79.7 the answer to an unknown command carries no id.
        same = (id_ for id_, pending in self._pending.items() if pending.command == response.command)
        return next(same, "")

    def _greet_on(self, response: Response) -> None:
        try:
            self._ask(self._greeting.send(response), self._greet_on)
        except StopIteration as done:
            self._say(done.value)

    def _prompt_answered(self, tag: int, number: int, response: Response) -> None:
        if number == self._turn.number and self._turn.open:
            if response.success:
                disposition = data_of(response.data, Disposition)
                self._turn.accepted(disposition.disposition if disposition else None)
            else:
                self._turn.refused()
        self._answer(tag, response)

    def _answer(self, tag: int, response: Response, value: Any = None) -> None:
        error = "" if response.success else words(response.error) or "pi gave no reason"
        self._say(agent.Answered(tag, bool(response.success), value if response.success else None, error))

    def _message_answered(self, tag: int, response: Response) -> None:
        if response.success and self._turn.is_too_late():
            self._late.append(tag)
        else:
            self._answer(tag, response)

    def _cleared(self, response: Response) -> None:
        """pi 0.74 cannot do this: there the message stays and is heard with the next prompt."""
        held = data_of(response.data, Queues)
        taken_back = held is not None and bool(held.steering or held.follow_up)
        for tag in self._late:
            self._say(agent.Answered(tag, not taken_back, error=TOO_LATE if taken_back else ""))
        self._late.clear()

    def _model_answered(self, tag: int, response: Response) -> None:
        self._answer(tag, response, model_of(data_of(response.data, ModelData)))

    def _models_answered(self, tag: int, response: Response) -> None:
        found = data_of(response.data, ModelList)
        models = [model_of(data) for data in (found.models or ())] if found else []
        self._answer(tag, response, [model for model in models if model is not None])

    def _abort_answered(self, response: Response) -> None:
        self._turn.abort_answered()

    def _alive(self, response: Response) -> None:
        self._say(agent.Alive())

    def _state_answered(self, number: int, response: Response) -> None:
        state = data_of(response.data, State)
        if state is not None:
            self._end(self._turn.state(number, state))

    # Writing --------------------------------------------------------------------------------------------------------

    def _ask(self, fields: Fields, take: Callable[[Response], None]) -> None:
        """Queue a command that has an answer."""
        self._last_id += 1
        id_ = f"t{self._last_id}"
        while len(self._pending) >= MAX_PENDING:
            del self._pending[next(iter(self._pending))]
        self._pending[id_] = _Pending(fields["type"], take)
        self._out.append(pi_lines.write({"id": id_, **fields}))

    def _ask_back(self) -> None:
        """Send what the turn wants to know, now that all that was read is told."""
        if self._turn.wants_abort:
            self._turn.wants_abort = False
            self._ask({"type": "abort"}, self._abort_answered)
        if self._turn.wants_clear:
            self._turn.wants_clear = False
            self._ask({"type": "clear_queue"}, self._cleared)
        if self._turn.wants_state:
            self._turn.wants_state = False
            self._ask({"type": "get_state"}, partial(self._state_answered, self._turn.number))

    def _taker(self, command: agent.Command) -> Callable[[Response], None]:
        """Say who takes the answer to a command."""
        match command:
            case agent.Prompt(tag=tag):
                return partial(self._prompt_answered, tag, self._begin())
            case agent.Steer(tag=tag) | agent.FollowUp(tag=tag):
                return partial(self._message_answered, tag)
            case agent.SetModel(tag=tag):
                return partial(self._model_answered, tag)
            case agent.ListModels(tag=tag):
                return partial(self._models_answered, tag)
            case agent.Abort():
                self._turn.abort_sent()
                return self._abort_answered
        return self._alive

    def _begin(self) -> int:
        """Begin a turn and give its number; 0 while one is open: pi will refuse the prompt, and the turn goes on."""
        if self._turn.open:
            return 0
        self._turn.begin()
        return self._turn.number


def _is_text(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


_HEAR: Final[dict[type, Callable[[PiCodec, Any], None]]] = {
    pi_wire.RunStart: PiCodec._run_started,
    pi_wire.RunEnd: PiCodec._run_ended,
    pi_wire.Settled: PiCodec._settled,
    pi_wire.RetryStart: PiCodec._retry_started,
    pi_wire.RetryEnd: PiCodec._retry_ended,
    pi_wire.CompactionEnd: PiCodec._compaction_ended,
    pi_wire.QueueUpdate: PiCodec._queue_changed,
    pi_wire.MessageEnd: PiCodec._message_ended,
    pi_wire.ToolStart: PiCodec._tool_started,
    pi_wire.ToolUpdate: PiCodec._tool_shows,
    pi_wire.ToolEnd: PiCodec._tool_ended,
    pi_wire.Question: PiCodec._asked,
}
"""Who takes a line of pi. A line that is not here is of no interest."""
