"""How a run of the fake pi waits: for a moment, for a file, for the user. A run is a generator of waits."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, NamedTuple

from .script import Step
from .talk import Json

if TYPE_CHECKING:
    from .agent import FakePi


class Wait(NamedTuple):
    """Why the run does not go on; `polled`: nothing on stdin will change it, look again soon."""

    ready: Callable[[], bool]
    polled: bool = False


SOON = Wait(lambda: True)
"""Go on as soon as the commands that are there were read."""
TICK = Wait(lambda: True, polled=True)
"""Go on after a short while."""
NEVER = Wait(lambda: False)
Waits = Generator[Wait, None, None]


class AbortedError(Exception):
    """The client aborts the run."""


def pace(pi: FakePi, step: Step) -> Waits:
    """gate, reach or hang."""
    if step.name == "hang":
        yield NEVER
    elif step.name == "delay":
        due = time.monotonic() + int(step.rest) / 1000
        while time.monotonic() < due:
            yield TICK
    elif step.name == "reach":
        pi.place(step.rest.strip()).touch()
    else:
        path = pi.place(step.rest.strip())
        if not path.exists():
            yield Wait(path.exists, polled=True)


def dialog(pi: FakePi, step: Step) -> Generator[Wait, None, Json | None]:
    """Ask; returns the reply, or None after its timeout. notify and status do not wait."""
    request = pi.new_id()
    if step.name == "notify":
        pi.tell({**_request(request, "notify"), "message": step.rest, "notifyType": "info"})
        return None
    if step.name == "status-line":
        pi.tell({**_request(request, "setStatus"), "statusKey": "fake", "statusText": step.rest})
        return None
    fields = json.loads(step.rest or "{}")
    pi.tell({**_request(request, step.name), **fields})
    end = time.monotonic() + fields["timeout"] / 1000 if "timeout" in fields else None
    pi.open_dialogs.add(request)
    try:
        yield Wait(lambda: request in pi.replies or (end is not None and time.monotonic() > end), end is not None)
    finally:
        pi.open_dialogs.discard(request)
    return pi.replies.pop(request, None)


def _request(request: str, method: str) -> Json:
    return {"type": "extension_ui_request", "id": request, "method": method}
