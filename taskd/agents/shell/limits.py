"""Every bound of the built-in agent, with its unit and its reason."""

LINE_LIMIT = 8 << 20
"""Bytes of one line on stdin; a longer one is answered with a parse error and skipped to its newline."""
READ_SIZE = 64 << 10
"""Bytes per read: the size of a Linux pipe, so one read empties it."""

OUTBOX_PAUSE = 1 << 20
"""Bytes unwritten to stdout at which the running command is no longer read: its pipe fills and it waits."""
OUTBOX_RESUME = 256 << 10
"""Bytes unwritten below which it is read again."""
OUTBOX_LIMIT = 64 << 20
"""Bytes unwritten at which stdin is no longer read either: a client that asks for ever and never listens."""

ANSWER_HEAD = 1 << 20
"""Bytes of a command's output that are streamed and kept; the text is repeated in four closing lines."""
ANSWER_TAIL = 32 << 10
"""Bytes of the end that are shown after the gap: the last lines of a build say whether it worked."""
TOOL_TAIL = 50 << 10
"""Bytes of the end that a tool execution shows, as pi's bash tool does."""
TOOL_UPDATE_S = 0.1
"""Seconds between two cumulative tool updates: each repeats up to TOOL_TAIL bytes."""

ABORT_GRACE_S = 0.5
"""Seconds from TERM to KILL after an abort; a user waits for it."""
EXIT_GRACE_S = 0.2
"""The same when the agent itself is told to go; a supervisor that counts to about one second waits for it."""
KILL_WAIT_S = 1.0
"""Seconds to wait for a killed command that does not die (uninterruptible sleep) before the turn ends without it."""
EXIT_FLUSH_S = 0.5
"""Seconds to bring out unwritten lines before the exit."""

DRAIN_IDLE_S = 0.1
"""Seconds of silence after which a command that exited is over although a background job still holds its pipe."""
DRAIN_LIMIT_S = 1.0
"""Seconds after its exit at which it is over even if that job never falls silent."""
LEFTOVER_PIPES = 16
"""Pipes of such jobs that are kept open and emptied, so that a background server does not die of SIGPIPE."""

QUEUE_LIMIT = 64
"""Messages waiting in the steering and follow-up queues together."""
QUEUE_BYTES = 4 << 20
"""Characters of those messages together."""
RECENT_BYTES = 8 << 20
"""Bytes of messages that one line (agent_end, get_messages) carries; the oldest are left out."""
SESSION_LIMIT = 256 << 20
"""Bytes of a session file that is read at all."""
