"""The built-in agent: every prompt is a shell command, spoken over pi's rpc wire. Needs nothing but Python.

It is a program of its own, not a part of the daemon: start it as
`python -m taskd.agents.shell --mode rpc --session PATH`, or faster and deaf to the work dir's own modules as
`python -I -S PROGRAM --mode rpc --session PATH`. The daemon talks to it through the same codec, session store and kill
paths as it talks to pi.

A prompt is one of

    ls -l                      run by bash (or sh) in the task's dir; what it prints is the answer, streamed as text
    !tool make test            the same as a tool execution: tool events, a tool result, then a closing line of text
    /ask Title | one | two     a select dialog; the answer is the chosen value
    /confirm Really?           a confirm dialog; the answer is yes or no
    /input Your name           an input dialog; the answer is what was typed
    /help                      this list

A prompt of several lines is one script. The output is text, not a doubled tool result: the command is what the user
asked for, so its output is the answer. `!tool` is there for those who want tool events without a model.

Rules: one command at a time, in a session (setsid) of its own, stdin /dev/null; `cd` lasts over prompts and resumes,
exported variables do not; a job put in the background outlives its command as in a shell, and what it still prints is
thrown away. A command that fails ends the answer with a line such as `[exit 3]`. A blocked stdout never keeps `abort`
from being read: the command is no longer read instead, so that it waits and memory stays bounded (see limits.py).
"""

PROGRAM = __path__[0] + "/__main__.py"
"""The file to start with `python -I -S`: absolute, needs no site-packages."""
