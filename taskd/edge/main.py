"""From settings to a running event loop, and from its end to an exit code."""

import gc
import os
import sys

import anyio

from taskd.edge.app import App
from taskd.edge.guard import TokenError
from taskd.edge.logs import Sink, set_up
from taskd.edge.notify import Notifier
from taskd.edge.settings import Settings
from taskd.edge.settings_sources import Surroundings
from taskd.edge.transports.door import Bound
from taskd.edge.transports.early import release
from taskd.edge.transports.stdio import claim_stdio
from taskd.model.errors import TaskdError

GC_THRESHOLDS = (20_000, 50, 100)
"""What a call allocates is freed by reference counts; the collector finds next to nothing, and took a quarter of each
step when it looked at Python's default of 700 allocations."""

STATE_ERROR = 3
"""Exit code for a state folder that is in use or cannot be used."""


def serve(settings: Settings, bound: list[Bound], around: Surroundings, *, stdio: bool) -> int:
    """Run the daemon to its end; give the exit code."""
    set_up(settings.log_format, settings.log_level, Sink(2))
    notifier = Notifier.from_environ(os.environ)
    link = claim_stdio() if stdio else None
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        app = App(settings, around.environ, around.uid, notifier)
        anyio.run(app.run, bound, link)
    except (TaskdError, TokenError, OSError) as error:
        release(bound)
        print(f"taskd: {error}", file=sys.stderr)
        return STATE_ERROR
    return 0
