"""An event in a few words, for people. Every event has words: those that are not known here tell their fields."""

from typing import Any

from host_client.cli.escapes import one_line
from host_client.cli.views import question_line, tool_line, usage_note
from host_client.notices import GuestEvent
from taskd.model import events


def words_of(item: GuestEvent) -> str:
    """Give an event's words, one line."""
    event = item.event
    match event:
        case events.AgentOutput(chunk=chunk) | events.ToolOutput(chunk=chunk):
            return one_line(chunk.rstrip("\n").replace("\n", "⏎"))
        case events.AgentQuestion():
            return f"{question_line(event)}  ({event.request_id})"
    return one_line(_task(event) or _turn(event) or _fields(item.fields()))


def _task(event: events.Event | None) -> str:
    """The life of tasks, and of the channel."""
    match event:
        case events.TaskBootstrapState():
            return ": ".join(part for part in (event.status, event.error or event.mode) if part)
        case events.TaskReady(incarnation=incarnation):
            return f"incarnation {incarnation}"
        case events.TaskError():
            return f"{event.code}: {event.message}"
        case events.TaskStopped(reason=reason):
            return reason
        case events.ModelChanged():
            return f"{event.provider}/{event.model}"
        case events.DriverChanged():
            return f"channel {event.channel} drives" if event.held else "nobody drives"
        case events.ChannelClosing():
            return event.reason
    return ""


def _turn(event: events.Event | None) -> str:
    """What happens in a turn."""
    match event:
        case events.TurnStarted(turn_id=turn_id):
            return turn_id
        case events.ToolStarted():
            return tool_line(event.tool, bytes(event.args))
        case events.ToolEnded():
            took = f" after {event.duration_ms:,} ms" if event.duration_ms is not None else ""
            return f"{event.tool} {'failed' if event.is_error else 'done'}{took}"
        case events.UsageReported():
            return usage_note(event.usage).removeprefix(" · ") or "no tokens"
        case events.AgentEnd():
            error = f": {event.error}" if event.error else ""
            return f"turn {event.turn_number}, {event.stop_reason}{error}{usage_note(event.usage)}"
        case events.AgentQuestionClosed():
            return f"{event.outcome}  ({event.request_id})"
    return ""


def _fields(fields: dict[str, Any]) -> str:
    return "  ".join(f"{key}={value}" for key, value in fields.items() if value not in ("", None, [], {}, 0, 0.0))
