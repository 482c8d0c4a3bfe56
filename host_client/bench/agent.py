"""An agent that takes no time: pi's rpc wire on stdin and stdout, so that what is measured is the daemon.

A program of its own, started as `python -I -S agent.py`; any arguments are accepted. It knows no model and keeps no
session. A prompt is echoed at once, unless it is one of these:

    @flood N SIZE    N deltas of SIZE bytes in the form of pi 1.5, in large writes that are encoded once
    @grow N SIZE     the same in the form of pi 0.74, where every delta carries the whole text so far, twice

Rules: no import that costs milliseconds (`json` and `re` take longer to load than Python takes to start); every command
is answered, those that are not known too; the closing lines of a flood hold its first bytes only, so that no line is
longer than a daemon takes. What it sends is `pattern(SIZE)` N times over, which the harness checks.
"""

import os
from _json import scanstring
from collections.abc import Iterator

PATTERN = b"0123456789abcdefghijklmnopqrstuvwxyz-+"
BLOCK_BYTES = 1 << 20
"""One write of a flood, roughly: what a Linux pipe takes at most."""
KEPT_BYTES = 4096
"""How much of a flood its closing lines repeat."""

MODEL = b'{"id":"instant","name":"Instant","provider":"bench","contextWindow":1000}'
STATE = (
    b'{"model":%b,"thinkingLevel":"off","isStreaming":false,"isCompacting":false,"steeringMode":"all",'
    b'"followUpMode":"all","sessionId":"bench","autoCompactionEnabled":false,"messageCount":0,"pendingMessageCount":0}'
) % MODEL
USAGE = (
    b'{"input":1,"output":1,"cacheRead":0,"cacheWrite":0,"totalTokens":2,'
    b'"cost":{"input":0,"output":0,"cacheRead":0,"cacheWrite":0,"total":0}}'
)
DATA = {
    "get_state": STATE,
    "set_model": MODEL,
    "get_available_models": b'{"models":[%b]}' % MODEL,
    "prompt": b'{"disposition":"started"}',
}
DELTA = (
    b'{"type":"message_update","usage":%b,"assistantMessageEvent":'
    b'{"type":"text_delta","contentIndex":0,"delta":"%%b"}}\n' % USAGE
)
MESSAGE = (
    b'{"role":"assistant","content":[{"type":"text","text":"%%b"}],"api":"bench","provider":"bench",'
    b'"model":"instant","usage":%b,"stopReason":"stop","timestamp":0}' % USAGE
)


def pattern(size: int) -> bytes:
    """Give SIZE printable bytes, none of which JSON escapes."""
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


def turn(number: str, message: str) -> Iterator[list[bytes]]:
    """Give what is written for one prompt: lists of pieces, each list one write."""
    started = answer(number, "prompt") + b'{"type":"agent_start"}\n{"type":"turn_start"}\n'
    words = message.split()
    if words[:1] in (["@flood"], ["@grow"]) and len(words) == 3:
        count, size = int(words[1]), int(words[2])
        yield [started]
        yield from flood(count, size) if words[0] == "@flood" else grow(count, size)
        yield [ended(pattern(size)[: max(KEPT_BYTES, 1)])]
        return
    text = quoted(f"echo: {message}")
    yield [started, DELTA % text]
    yield [ended(text)]


def flood(count: int, size: int) -> Iterator[list[bytes]]:
    """Give equal deltas."""
    line = DELTA % pattern(size)
    at_once = max(1, BLOCK_BYTES // len(line))
    block = line * at_once
    for _ in range(count // at_once):
        yield [block]
    yield [line * (count % at_once)]


def grow(count: int, size: int) -> Iterator[list[bytes]]:
    """Give growing partials. Nothing is copied: each line is five pieces of bytes that are there."""
    text = pattern(size)
    grown = memoryview(text * count)
    before, after = MESSAGE.split(b"%b")
    head = (
        b'{"type":"message_update","assistantMessageEvent":{"type":"text_delta","contentIndex":0,"delta":"%b",' % text
    )
    head += b'"partial":' + before
    middle, tail = after + b'},"message":' + before, after + b"}\n"
    for number in range(1, count + 1):
        part: bytes = grown[: number * size]  # type: ignore[assignment]  # writev takes any buffer
        yield [head, part, middle, part, tail]


def ended(text: bytes) -> bytes:
    """Give the closing lines of a turn."""
    message = MESSAGE % text
    lines = (
        b'{"type":"message_end","message":%b}' % message,
        b'{"type":"turn_end","message":%b,"toolResults":[]}' % message,
        b'{"type":"agent_end","messages":[%b],"willRetry":false}' % message,
        b'{"type":"agent_settled","aborted":false}',
    )
    return b"\n".join(lines) + b"\n"


def answer(number: str, command: str) -> bytes:
    """Give the response to a command; `number` is its id as JSON."""
    data = DATA.get(command, b"{}")
    head = f'{{"id":{number},"type":"response","command":"{command}","success":true,"data":'
    return head.encode() + data + b"}\n"


def value_of(line: str, key: str) -> str | None:
    """Give the text of a member of a flat object, or None.

    In a string a quote is always escaped, so `"key"` stands only where a string begins, and is a key before a colon.
    """
    at = line.find(f'"{key}"')
    while at >= 0:
        rest = line[at + len(key) + 2 :].lstrip()
        if rest.startswith(":"):
            start = rest[1:].lstrip()
            return scanstring(start, 1)[0] if start.startswith('"') else start.partition(",")[0].strip(" }\r")
        at = line.find(f'"{key}"', at + 1)
    return None


def quoted(text: str) -> bytes:
    """Give text for the inside of a JSON string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(c if c >= " " else f"\\u{ord(c):04x}" for c in escaped).encode("utf-8", "replace")


def write(pieces: list[bytes]) -> None:
    """Write everything; blocks."""
    done = os.writev(1, pieces)
    if done < sum(map(len, pieces)):
        rest = memoryview(b"".join(pieces))[done:]
        while rest:
            rest = rest[os.write(1, rest) :]


def main() -> None:
    """Answer commands until stdin ends."""
    rest = b""
    while data := os.read(0, 1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        for raw in lines:
            line = raw.decode("utf-8", "replace")
            command, number = value_of(line, "type") or "", value_of(line, "id")
            number = "null" if number is None else '"' + quoted(number).decode() + '"'
            if command == "prompt":
                for pieces in turn(number, value_of(line, "message") or ""):
                    write(pieces)
            elif command != "extension_ui_response":
                write([answer(number, command)])


if __name__ == "__main__":
    main()
