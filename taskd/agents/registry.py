"""The protocols that agents speak, by the name that a profile gives. A new one is one file and one line here.

The built-in agent has no line: it speaks `pi`, with a command of its own.
"""

from typing import Final

from taskd.agents.base import AgentProtocol
from taskd.agents.pi import Pi
from taskd.model.errors import Code, TaskdError

PROTOCOLS: Final[dict[str, AgentProtocol]] = {protocol.name: protocol for protocol in (Pi(),)}


def protocol(name: str) -> AgentProtocol:
    """Give the protocol of that name.

    Raises:
        TaskdError: `INVALID_PARAMS`, naming those that there are.
    """
    found = PROTOCOLS.get(name)
    if found is None:
        known = ", ".join(sorted(PROTOCOLS))
        raise TaskdError(Code.INVALID_PARAMS, f"no agent protocol {name!r}; there is: {known}")
    return found
