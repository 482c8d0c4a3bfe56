"""Start of the built-in agent: `python -m taskd.agents.shell --mode rpc --session PATH [--no-session]`.

May also be started by its path, with `-I -S` for speed. Arguments of pi that mean nothing here are ignored, so that one
launch line serves both. Exit codes: 0 end of input, 1 the session cannot be used (reason on stderr), 2 bad arguments,
129 and 143 SIGHUP and SIGTERM.
"""

import sys

# First of all: the folder of this file, or the work dir, must not shadow modules of the standard library.
if not sys.flags.safe_path:
    del sys.path[0]
if not __package__:
    sys.path.append(__file__.rsplit("/", 4)[0])

import os
import signal

from taskd.agents.shell.agent import Agent
from taskd.agents.shell.loop import Loop
from taskd.agents.shell.session_file import SessionError

USAGE = "usage: python -m taskd.agents.shell --mode rpc (--session PATH | --no-session)\n"


def session_path(arguments: list[str]) -> str | None:
    """The path after --session; None with --no-session or without it. Raises SystemExit(2)."""
    if "--mode" in arguments and arguments[arguments.index("--mode") + 1 :][:1] != ["rpc"]:
        _complain(USAGE)
        raise SystemExit(2)
    if "--no-session" in arguments or "--session" not in arguments:
        return None
    path = arguments[arguments.index("--session") + 1 :][:1]
    if not path:
        _complain(USAGE)
        raise SystemExit(2)
    return path[0]


def main(arguments: list[str]) -> int:
    """Run the agent; the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    agent = None
    try:
        agent = Agent(Loop(), session_path(arguments))
        return agent.serve()
    except SessionError as error:
        _complain(f"{error}\n")
        if agent:
            agent.give_up()
        return 1


def _complain(text: str) -> None:
    os.write(2, text.encode("utf-8", "replace"))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
