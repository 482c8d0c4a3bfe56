"""A scripted stand-in for pi's rpc mode: deterministic, no Node, no model. The prompt says what happens.

Start it as a program: `[sys.executable, PROGRAM, "--mode", "rpc", "--session", PATH, "--dialect", "1.5" | "0.74"]`.
Unknown arguments are ignored, as launch lines for real pi must fit. A prompt without directives is echoed at once; else
each line that begins with `@` is a step, done in order, and other lines are comments. An unknown directive is a mistake
of the test: the fake says so on stderr and exits 70. The directives that the mock model knows too mean the same here,
so one scenario serves real pi and the fake.

Answers
    @text WORDS            one text delta; a JSON string after it may hold newlines and U+2028
    @think WORDS           one thinking delta
    @usage IN OUT          tokens of this message; above 110,000 pi compacts after the run
    @chunks N [SIZE]       N deltas, numbered
    @stop REASON           stopReason of this message (length, ...)
    @flood N SIZE [KEEP]   N equal deltas in large writes; the closing lines hold the first KEEP bytes (default 65536)
    @instant               (the whole prompt) a turn with the answer "ok", made once and not put on file: for benchmarks
    @tool NAME {args}      a tool call: bash runs args.command for real in a session of its own, write writes a file;
                           a bash command that contains `: guarded` asks for permission first
    @also NAME {args}      one more call in the message of the @tool above it
Pace
    @gate PATH             go on when PATH exists (looked at every 5 ms; relative to the session's dir)
    @reach PATH            create PATH: the test sees that this point was reached
    @hang                  never go on; every command is still answered
    @delay MS              a pause (for demonstrations; tests use gates)
Dialogs, also as the prompt `/ask` (handled, no run)
    @select {"title":..,"options":[..],"timeout"?:ms}   @confirm {..}   @input {..}   @notify TEXT   @status-line TEXT
Errors of the model
    @status CODE [TIMES]   the model fails, TIMES times (default: always); pi tries again after 429 and 5xx, at once
                           or, when settings.json has retry.baseDelayMs, after that; @retry-gate PATH: when PATH exists
    @drop                  the stream breaks off
Misbehaviour
    @die [SIGNAL]  @exit CODE  @half  @torn      death: by signal (9), by exit, inside a line, inside a session entry
    @freeze [PATH]         stop doing anything at all, stdin unread, SIGTERM without effect; then PATH exists
    @ignore term|eof|null  live on after SIGTERM, after the end of stdin, after the line `null`
    @mute [COMMAND ...]    never answer these commands again (all when none is named)
    @silent                this prompt gets no response       @refuse TEXT   this prompt is answered with an error
    @fail-model            set_model fails from now on        @reorder       responses leave in swapped pairs
    @escape PATH           leave a setsid grandchild that holds stdout; its pid is written to PATH
    @noise TEXT            a line that is no JSON             @null          the line `null`
    @line SIZE             an event line of SIZE bytes        @unending SIZE SIZE bytes without a newline
    @bad-utf8              a delta line with half a UTF-8 sequence
    @stderr SIZE           SIZE bytes on stderr               @late TEXT     an event after the run is settled
    @close-stdin  @close-stdout

Before the first command: the directives after `--start` and those in the file `.fake_pi` in the session's dir are done
(`@gate`, `@exit`, `@freeze`, `@ignore`, `@stderr`, `@noise`, `@mute`, ...), which makes slow and failing starts.
"""

from pathlib import Path

PROGRAM = str(Path(__file__).with_name("__main__.py"))
"""The file to run."""
