"""The run: every transcript against one daemon, one after the other, each with tasks of its own.

A transcript ends when its channels are closed on both sides, so that its driver lease is free for the next, and its
tasks are stopped. A daemon that does not answer costs at most `patience` seconds for a step, and ends that transcript
only.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Final

import anyio

from host_client.conformance.channel import Broken, Channel
from host_client.conformance.matching import UnknownMatcher
from host_client.conformance.replay import Replay, authenticate, stop_tasks
from host_client.conformance.report import Outcome, Report, Verdict
from host_client.conformance.transcript import Transcript, load
from host_client.dial import Target, find_token, read_address
from taskd.model.address import ExecAddress

PATIENCE_SECONDS: Final = 10.0
"""The longest wait for a line: twice what hosts of the daemon have."""


def run(
    address: str | None,
    transcripts: Iterable[Transcript] | None = None,
    dialects: Iterable[str] | None = None,
    *,
    token: str | None = None,
    patience: float = PATIENCE_SECONDS,
    tell: Callable[[Outcome], None] | None = None,
) -> Report:
    """Replay transcripts against the daemon at an address. Blocks.

    Args:
        address: as `taskctl` takes it; None means this machine's daemon.
        transcripts: those of the package when left out.
        dialects: `jsonrpc`, `p0`; all when left out.
        token: for TCP; looked up as `taskctl` does when left out.
        patience: seconds that any one answer may take.
        tell: called with each outcome as it comes.

    Raises:
        DialFailed: the address or the token cannot be read.
        TranscriptError: the transcripts cannot be read.
    """
    target = read_address(address)
    wanted = list(load() if transcripts is None else transcripts)
    if dialects is not None:
        spoken = set(dialects)
        wanted = [transcript for transcript in wanted if transcript.header.dialect in spoken]
    visit = _Visit(target, find_token(target, token), patience)
    return anyio.run(partial(_run, visit, wanted, tell))


async def _run(visit: "_Visit", transcripts: list[Transcript], tell: Callable[[Outcome], None] | None) -> Report:
    outcomes = []
    for number, transcript in enumerate(transcripts):
        outcome = await visit.play(transcript, number)
        outcomes.append(outcome)
        if tell is not None:
            tell(outcome)
    return Report(str(visit.target), tuple(outcomes))


class _Visit:
    """One daemon, one run."""

    def __init__(self, target: Target, token: str | None, patience: float) -> None:
        self.target = target
        self._token = token
        self._patience = patience
        self._run = os.urandom(4).hex()

    async def play(self, transcript: Transcript, number: int) -> Outcome:
        header = transcript.header
        outcome = partial(Outcome, header.transcript, header.dialect)
        if header.channels > 1 and isinstance(self.target, ExecAddress):
            return outcome(Verdict.SKIPPED, "it needs several channels to one daemon, and exec: starts one for each")
        run = f"conformance-{self._run}-{number}"
        tasks = {name: f"{run}-{name}" for name in header.tasks}
        try:
            await self._replay(transcript, run, tasks)
        except (Broken, UnknownMatcher) as error:
            return outcome(Verdict.BROKEN, str(error))
        finally:
            await self._clean_up(header.dialect, list(tasks.values()))
        return outcome(Verdict.KEPT)

    async def _replay(self, transcript: Transcript, run: str, tasks: dict[str, str]) -> None:
        await Replay(transcript, run, tasks, partial(self._connect, transcript.header.dialect)).run()

    async def _connect(self, dialect: str, name: str) -> Channel:
        channel = await Channel.open(name, self.target, self._patience)
        try:
            if self._token is not None:
                await authenticate(channel, dialect, self._token)
        except BaseException:
            await channel.close()
            raise
        return channel

    async def _clean_up(self, dialect: str, tasks: list[str]) -> None:
        """Leave no agent behind. A daemon that cannot do that has had its verdict already."""
        with suppress(Broken):
            if tasks:
                channel = await self._connect(dialect, "cleanup")
                try:
                    await stop_tasks(channel, dialect, tasks)
                finally:
                    await channel.close()
