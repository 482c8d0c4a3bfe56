"""Every bound of the daemon, with its unit in the name and its reason beside it.

A limit is set in the settings under `[limits]`, by `TASKD_LIMITS_<NAME>`, or by `taskd.limits.<name>` on the kernel
command line. Nothing waits, queues, caches or reads without one of these.
"""

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Named bounds. Times are seconds, sizes are bytes."""

    host_line_bytes: int = 16 << 20
    """One line from a host. A prompt with images is a few MB in base64; the same bound as the agents' pipes use."""
    agent_line_bytes: int = 64 << 20
    """One line from an agent. Real pi writes the whole session on one line for get_messages (3 MB seen)."""
    child_read_bytes: int = 256 << 10
    """One read from a child's pipe; four times Linux's default pipe, so that one read empties it."""
    channel_read_bytes: int = 64 << 10
    """One read from a host."""
    outbox_bytes: int = 8 << 20
    """What may wait for one host that reads slowly before the channel is closed with a reason."""
    channels: int = 64
    """Connected hosts; each costs a task and its buffers."""
    tasks: int = 1000
    """Known tasks, open or not."""
    idempotency_entries: int = 4096
    """Remembered answers, least recently used go first; a host retries within seconds, not thousands of calls."""
    idempotency_bytes: int = 16 << 20
    """Their weight; outputs of system_bash make it up."""
    pending_calls_per_channel: int = 256
    """Calls of one channel that wait for an agent or the disk."""
    questions_per_task: int = 64
    """Open questions of one task; one more is refused in the agent's name."""
    bootstrap_seconds: float = 30.0
    """Spawn to the agent's first answer. Real pi 0.74 needs 1 s, an ACP agent in a cold VM some 15 s."""
    switch_probe_seconds: float = 4.0
    """How long a switch waits for a sign of life; below the 5 s after which hosts give up."""
    probe_fresh_seconds: float = 5.0
    """An agent that spoke this recently is not probed again by a switch."""
    agent_answer_seconds: float = 20.0
    """A command to an agent that expects an answer (set_model, list_models); P0 hosts wait 25 s."""
    abort_seconds: float = 5.0
    """From abort to the end of the turn; after that the agent is stopped. pi needs 8 ms."""
    stop_abort_seconds: float = 2.0
    """A stop lets a running turn end by abort for this long before the stop ladder starts."""
    stop_eof_seconds: float = 1.2
    """First rung of the stop ladder: stdin closed. pi saves its partial answer and exits in 35 ms."""
    stop_term_seconds: float = 1.0
    """Second rung: SIGTERM to the process group. The third rung, SIGKILL, needs no grace."""
    stop_kill_seconds: float = 2.0
    """How long the kernel may take to deliver a SIGKILL before it is reported as a fault."""
    drain_seconds: float = 0.25
    """After a child's exit, how long its pipes are still read although a helper may hold them open."""
    shutdown_seconds: float = 8.0
    """SIGTERM to exit 0; systemd's TimeoutStopSec is 10 s."""
    authenticate_seconds: float = 10.0
    """A channel that must show a token and does not is closed."""
    half_closed_seconds: float = 30.0
    """A host that ended its side of the stream still gets the answers that are due within this time."""
    close_flush_seconds: float = 1.0
    """A channel that is being closed may still take what waits for it."""
    bash_seconds: float = 60.0
    """Default time limit of system_bash; hosts may ask for less, or for up to the next."""
    bash_max_seconds: float = 600.0
    """The most that a host may ask for."""
    bash_output_bytes: int = 1 << 20
    """Kept output of system_bash; the rest is counted and dropped."""
    bash_concurrent: int = 8
    """Running system_bash commands."""
    stderr_tail_bytes: int = 8 << 10
    """The end of an agent's stderr, kept for error messages."""
    stderr_log_bytes_per_second: int = 64 << 10
    """Rate above which an agent's stderr is no longer copied to the log."""
    tool_output_bytes: int = 1 << 20
    """Kept output of one tool call for computing deltas from pi's cumulative form."""
    turn_text_bytes: int = 4 << 20
    """Text of one message kept in session.json; the rest is cut with a mark (the agent's native file has it whole)."""
    turn_bytes: int = 64 << 20
    """Text of all messages of one turn kept in session.json; beyond it only their first kilobytes are."""
    session_bytes: int = 256 << 20
    """A session.json above this is not read back whole into memory."""
    stdin_queue_bytes: int = 32 << 20
    """What may wait for an agent that does not read its stdin; the next command is refused."""
    raw_line_bytes: int = 1 << 20
    """A raw agent line above this is not repeated to P0 hosts."""
    env_file_bytes: int = 1 << 20
    """An env file of secrets."""
    worker_threads: int = 8
    """Threads for disk work and spawns; each costs memory, and an fsync-bound disk is no faster with more."""
    story_entries: int = 256
    """Remembered stimuli for `diag`."""
    watchdog_share: float = 0.5
    """A watchdog message is sent at this share of systemd's WatchdogSec, as sd_watchdog_enabled(3) advises."""


DEFAULT_LIMITS = Limits()
