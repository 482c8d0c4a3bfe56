"""Hosts that only look on, in a process of their own: `python -m host_client.bench.observers ADDRESS DIALECT COUNT`.

It says `ready` when all are connected, reads and forgets what they are told, and ends with its stdin, after it has said
how many bytes they were told. A token is taken from TASKD_TOKEN.
"""

import os
import selectors
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from host_client.bench.bench import Bench, Options
from host_client.bench.probe import READ_BYTES, BenchError
from host_client.dial import Target


@contextmanager
def observing(target: Target, options: Options, count: int) -> Iterator[None]:
    """Have so many observers connected.

    Raises:
        BenchError: one of them was told nothing, or lost its channel.
    """
    command = [sys.executable, "-m", "host_client.bench.observers", str(target), options.dialect, str(count)]
    environ = {**os.environ, **({"TASKD_TOKEN": options.token} if options.token else {})}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if os.read(process.stdout.fileno(), 100) != b"ready\n":
                raise BenchError("the observers cannot connect")
            yield
        finally:
            process.stdin.close()
        if os.read(process.stdout.fileno(), 100) in (b"", b"0\n"):
            raise BenchError("an observer was told nothing")


def main(address: str, dialect: str, count: str) -> None:
    """Look on until stdin ends."""
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        bench = stack.enter_context(Bench(Options(address=address, dialect=dialect)))
        told = {}
        for _ in range(int(count)):
            probe = stack.enter_context(bench.channel())
            probe.call("get_state" if dialect == "jsonrpc" else "runtime_get_state")
            told[probe.fileno()] = 0
            selector.register(probe.fileno(), selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        os.write(1, b"ready\n")
        while True:
            ready = [key.fd for key, _ in selector.select()]
            for fd in ready:
                if fd:
                    told[fd] += len(_read(fd))
            if 0 in ready:
                break
        os.write(1, b"%d\n" % min(told.values()))


def _read(fd: int) -> bytes:
    data = os.read(fd, READ_BYTES)
    if not data:
        raise SystemExit("the daemon closed an observer's channel")
    return data


if __name__ == "__main__":
    main(*sys.argv[1:])
