"""The host's end of taskd: drive coding agents in a VM or container from a program outside.

    from host_client import AgentOutput, TurnFailed, connect

    async with connect("unix:/run/taskd/taskd.sock", reconnect=60) as client:
        await client.open("fix-tests", working_folder="/workspace")
        await client.switch("fix-tests", timeout=5.0)
        turn = client.prompt("fix-tests", "Make the tests pass.")
        async for item in turn:
            if isinstance(item, AgentOutput):
                print(item.chunk, end="", flush=True)
        print(turn.result.stop_reason, turn.result.usage.total_tokens)

`host_client.sync` is the same for scripts that are not async. What can go wrong is in `host_client.errors`, one tree
under `HostError`. Names are loaded when they are first used, so that importing this package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from host_client.client import Client
    from host_client.connecting import connect
    from host_client.conversation import Conversation, ConversationCache
    from host_client.errors import (
        BadAnswer,
        CallTimeout,
        ConnectionLost,
        DialFailed,
        GuestError,
        HostError,
        SwitchFailed,
        SwitchSuperseded,
        SwitchTimeout,
        TooManyCalls,
        TurnFailed,
    )
    from host_client.mirror import Mirror
    from host_client.notices import GuestEvent, Lagged, RawLine, Reconnected, Refreshed
    from host_client.subscription import Subscription
    from host_client.switching import Switched
    from host_client.turn import Turn
    from host_client.turning import TurnResult
    from taskd.model.events import (
        AgentOutput,
        AgentQuestion,
        AgentQuestionClosed,
        ToolEnded,
        ToolOutput,
        ToolStarted,
        UsageReported,
    )

_HOMES = {
    "host_client.client": ("Client",),
    "host_client.connecting": ("connect",),
    "host_client.conversation": ("Conversation", "ConversationCache"),
    "host_client.errors": (
        "BadAnswer",
        "CallTimeout",
        "ConnectionLost",
        "DialFailed",
        "GuestError",
        "HostError",
        "SwitchFailed",
        "SwitchSuperseded",
        "SwitchTimeout",
        "TooManyCalls",
        "TurnFailed",
    ),
    "host_client.mirror": ("Mirror",),
    "host_client.notices": ("GuestEvent", "Lagged", "RawLine", "Reconnected", "Refreshed"),
    "host_client.subscription": ("Subscription",),
    "host_client.switching": ("Switched",),
    "host_client.turn": ("Turn",),
    "host_client.turning": ("TurnResult",),
    "taskd.model.events": (
        "AgentOutput",
        "AgentQuestion",
        "AgentQuestionClosed",
        "ToolEnded",
        "ToolOutput",
        "ToolStarted",
        "UsageReported",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AgentOutput",
    "AgentQuestion",
    "AgentQuestionClosed",
    "BadAnswer",
    "CallTimeout",
    "Client",
    "ConnectionLost",
    "Conversation",
    "ConversationCache",
    "DialFailed",
    "GuestError",
    "GuestEvent",
    "HostError",
    "Lagged",
    "Mirror",
    "RawLine",
    "Reconnected",
    "Refreshed",
    "Subscription",
    "SwitchFailed",
    "SwitchSuperseded",
    "SwitchTimeout",
    "Switched",
    "TooManyCalls",
    "ToolEnded",
    "ToolOutput",
    "ToolStarted",
    "Turn",
    "TurnFailed",
    "TurnResult",
    "UsageReported",
    "connect",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
