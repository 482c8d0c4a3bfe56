"""The `pi` protocol: pi's rpc mode, from 0.74 to 1.5 and on. The codec is in `pi_codec`.

Also the built-in agent speaks it. Which agent is started is the profile's affair; all of them take `--mode rpc` and the
path of the session file, which need not exist yet.
"""

from taskd.agents import pi_session
from taskd.agents.base import AgentProfile, LaunchSpec, Opening
from taskd.agents.pi_codec import PiCodec
from taskd.model.limits import Limits


class Pi:
    """The protocol's entry in the registry. See `base.AgentProtocol`."""

    name = "pi"

    def launch(self, profile: AgentProfile, opening: Opening) -> LaunchSpec:
        """Say how to start pi on the task's session file."""
        return LaunchSpec((*profile.command, "--mode", "rpc", "--session", opening.native_session), {})

    def codec(self, opening: Opening, limits: Limits, *, keep_raw: bool) -> "PiCodec":
        """Make a tongue for one incarnation."""
        return PiCodec(opening, limits, keep_raw=keep_raw)

    def seed(self, opening: Opening, session_id: str, at: str) -> bytes:
        """Give an empty session in the task's folder."""
        return pi_session.seed(session_id, at, opening.cwd)

    def rebase(self, native: bytes, cwd: str) -> bytes:
        """Give the same session in another folder."""
        return pi_session.rebase(native, cwd)

    def whole_length(self, native: bytes) -> int:
        """Say how many of these bytes are whole lines."""
        return pi_session.whole_length(native)
