"""The instant agent without a daemon around it: what of a figure is the agent's own."""

import os
import subprocess
import sys
from time import perf_counter
from typing import Self

from host_client.bench.probe import elapsed_ms
from host_client.bench.system import interpreter

_HELLO = b'{"id":"1","type":"get_state"}\n'
_PROMPT = b'{"id":"2","type":"prompt","message":"hello"}\n'
_READ_BYTES = 1 << 16


class BareAgent:
    """The instant agent on two pipes, spoken to directly."""

    def __init__(self) -> None:
        began = perf_counter()
        self._process = subprocess.Popen(
            interpreter("agent.py"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
        )
        self._ask(_HELLO, b'"response"')
        self.start_ms = elapsed_ms(began)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def turn(self, _: int = 0) -> float:
        """Prompt it and give the milliseconds to its last line."""
        began = perf_counter()
        self._ask(_PROMPT, b"agent_settled")
        return elapsed_ms(began)

    def _ask(self, line: bytes, last: bytes) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        os.write(self._process.stdin.fileno(), line)
        heard = b""
        while last not in heard:
            data = os.read(self._process.stdout.fileno(), _READ_BYTES)
            if not data:
                raise EOFError("the instant agent has ended")
            heard += data


def bare_start(_: int = 0) -> float:
    """Start the agent and end it; give the milliseconds to its first answer."""
    with BareAgent() as agent:
        return agent.start_ms


def python_start(_: int = 0) -> float:
    """Run a Python that does nothing, and give the milliseconds it took."""
    began = perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return elapsed_ms(began)
