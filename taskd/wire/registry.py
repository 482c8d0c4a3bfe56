"""Which dialects there are on either side, and which one a line is in.

A new dialect is one file (two, if hosts of ours speak it), a line in the tables and its sign in `recognise`. JSON-RPC
lines are objects with `jsonrpc`, or arrays; P0 lines are objects with `type` or `payload`. A first line that is neither
gets its answer in JSON-RPC.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from taskd.model.errors import TaskdError
from taskd.wire.dialect import Dialect
from taskd.wire.host import Tongue
from taskd.wire.jsonline import parse
from taskd.wire.jsonrpc import JsonRpc
from taskd.wire.jsonrpc_host import JsonRpcTongue
from taskd.wire.piwork import Piwork
from taskd.wire.piwork_host import PiworkTongue

DIALECTS: Final[dict[str, Callable[[], Dialect]]] = {JsonRpc.name: JsonRpc, Piwork.name: Piwork}
"""Each makes the daemon's end of one channel."""

TONGUES: Final[dict[str, Callable[[], Tongue]]] = {JsonRpcTongue.name: JsonRpcTongue, PiworkTongue.name: PiworkTongue}
"""Each makes the host's end of one channel."""

_SHAPE: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(list[msgspec.Raw] | dict[str, msgspec.Raw])


def recognise(line: bytes) -> str | None:
    """Say in which dialect a line is: a key of `DIALECTS`, or None for what could be in any or in none."""
    try:
        shape = parse(line, _SHAPE)
    except (TaskdError, msgspec.ValidationError):
        return None
    if isinstance(shape, list) or "jsonrpc" in shape:
        return JsonRpc.name
    return Piwork.name if "type" in shape or "payload" in shape else None


def choose(first_line: bytes) -> Dialect:
    """Give a new channel's tongue for its first line."""
    return DIALECTS[recognise(first_line) or JsonRpc.name]()
