"""Events and notices as JSON values for programs: `{"event": NAME, "params": {…}}`, with the wire's own field names."""

from typing import Any

import msgspec

from host_client.notices import GuestEvent, Lagged, Reconnected
from taskd.model.events import Event


def item_line(item: object, task_id: str | None = None) -> dict[str, Any]:
    """Give the value for something that a turn or a subscription tells.

    Args:
        item: an event's struct, a `GuestEvent`, or a notice of this host, whose names no guest uses.
        task_id: the task that an event's struct is about.
    """
    match item:
        case GuestEvent():
            return _line(item.name, {"seq": item.seq, "at": item.at, "taskId": item.task_id, **item.fields()})
        case Event():
            fields = msgspec.json.decode(msgspec.json.encode(item), type=dict[str, msgspec.Raw])
            return _line(item.name, {"taskId": task_id, **fields})
        case Lagged(missed=missed):
            return _line("host_lagged", {"missed": missed})
        case Reconnected(same_daemon=same_daemon):
            return _line("host_reconnected", {"sameDaemon": same_daemon})
    raise TypeError(f"no line for {type(item).__name__}")


def _line(name: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"event": name, "params": params}
