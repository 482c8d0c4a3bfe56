"""One conversation: says what the transcript says, and holds what it hears against what the transcript expects.

Lines that the transcript's header does not count are passed over: events that it does not name, events of other tasks,
agents' own lines of other types. Answers always count.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from host_client.conformance.channel import Broken, Channel
from host_client.conformance.matching import RUN, Bindings, Difference, compare, fill, show
from host_client.conformance.transcript import Step, Transcript
from taskd.wire.registry import TONGUES

CLEANUP_TRIES: Final = 50
"""Answers that are read while tasks are stopped; more means that the daemon talks about other things."""


class Replay:
    """A transcript on its way.

    Args:
        transcript: what is to be said and heard.
        run: what ids of requests begin with, so that no two runs share one.
        tasks: ids for the names in its header.
        open_channel: connects, under the name that the transcript gives.
    """

    def __init__(
        self,
        transcript: Transcript,
        run: str,
        tasks: Mapping[str, str],
        open_channel: Callable[[str], Awaitable[Channel]],
    ) -> None:
        self._transcript = transcript
        self._bindings: Bindings = {RUN: run, **tasks}
        self._tasks = frozenset(tasks.values())
        self._open_channel = open_channel
        self._channels: dict[str, Channel] = {}
        self._actions: dict[str, Callable[[Step], Awaitable[None]]] = {
            "say": self._say,
            "say_text": self._say_text,
            "say_hex": self._say_hex,
            "say_long": self._say_long,
            "hear": self._hear,
            "hear_all": self._hear_all,
            "check": self._check,
            "close": self._close,
            "note": self._note,
        }

    async def run(self) -> None:
        """Play it to its end.

        Raises:
            Broken: it went otherwise.
            UnknownMatcher: the transcript is wrong.
        """
        try:
            for number, step in self._transcript.steps:
                await self._play(number, step)
        finally:
            rest = [message for channel in self._channels.values() for message in await channel.close()]
        extra = [message for message in rest if self._is_answer(message)]
        if extra:
            raise Broken(f"{self._transcript.file}: after its end, an answer that nobody waits for:\n{show(extra[0])}")

    async def _play(self, number: int, step: Step) -> None:
        try:
            await self._actions[step.action](step)
        except Broken as error:
            where = f"{self._transcript.file}:{number}: {error}"
            raise Broken("\n".join([where, *self._heard_before(step)])) from error

    def _heard_before(self, step: Step) -> list[str]:
        channel = self._channels.get(step.on)
        lines = [f"    {line[:300]}" for line in channel.history] if channel else []
        return [f"last lines on channel {step.on}:", *lines] if lines else []

    # Steps ----------------------------------------------------------------------------------------------------------

    async def _say(self, step: Step) -> None:
        await self._send(step, json.dumps(fill(step.say, self._bindings), ensure_ascii=False).encode())

    async def _say_text(self, step: Step) -> None:
        await self._send(step, str(step.say_text).encode())

    async def _say_hex(self, step: Step) -> None:
        await self._send(step, bytes.fromhex(str(step.say_hex)))

    async def _say_long(self, step: Step) -> None:
        await self._send(step, b"x" * (int(fill(step.say_long, self._bindings)) + 1))

    async def _hear(self, step: Step) -> None:
        channel = await self._channel(step.on)
        heard = await self._next(channel)
        if found := compare(step.hear, heard, self._bindings):
            raise Broken(_told(step.hear, heard, found))
        while step.many:
            heard = await self._next(channel)
            if compare(step.hear, heard, self._bindings):
                channel.put_back(heard)
                return

    async def _hear_all(self, step: Step) -> None:
        assert isinstance(step.hear_all, list)
        channel, left = await self._channel(step.on), list(step.hear_all)
        while left:
            heard = await self._next(channel)
            tries = [compare(expected, heard, self._bindings) for expected in left]
            fits = next((index for index, found in enumerate(tries) if not found), None)
            if fits is None:
                raise Broken("\nor\n".join(_told(one, heard, found) for one, found in zip(left, tries, strict=True)))
            del left[fits]

    async def _check(self, step: Step) -> None:
        value = fill(step.check, self._bindings)
        if found := compare(step.is_, value, self._bindings):
            raise Broken(_told(step.is_, value, found))

    async def _close(self, step: Step) -> None:
        channel = self._channels.pop(str(step.close), None)
        if channel is not None:
            await channel.close()

    async def _note(self, step: Step) -> None:
        """Words for readers."""

    # Lines ----------------------------------------------------------------------------------------------------------

    async def _channel(self, name: str) -> Channel:
        if name not in self._channels:
            self._channels[name] = await self._open_channel(name)
        return self._channels[name]

    async def _send(self, step: Step, line: bytes) -> None:
        await (await self._channel(step.on)).send(line)

    async def _next(self, channel: Channel) -> Any:
        while True:
            message = await channel.receive()
            if self._counts(message):
                return message

    def _counts(self, message: Any) -> bool:
        """Say whether the transcript has to know of a line."""
        if not isinstance(message, dict) or self._is_answer(message):
            return True
        header = self._transcript.header
        if header.dialect == "p0" and message.get("type") != "event":
            return message.get("type") in header.raw
        name, fields = message.get("event", message.get("method")), message.get("params", message)
        task = fields.get("taskId") if isinstance(fields, dict) else None
        return name is None or (name in header.events and (task is None or task in self._tasks))

    def _is_answer(self, message: Any) -> bool:
        if not isinstance(message, dict):
            return True
        return "ok" in message or ("jsonrpc" in message and "id" in message)


def _told(expected: Any, heard: Any, found: list[Difference]) -> str:
    both = [f"  expected  {show(expected)}", f"  heard     {show(heard)}"]
    return "\n".join(["heard something else", *both, *(f"  {one}" for one in found)])


# What belongs to no transcript ----------------------------------------------------------------------------------------


async def authenticate(channel: Channel, dialect: str, token: str) -> None:
    """Show the token, before anything else is said. Raises Broken when it is not right."""
    method = "initialize" if dialect == "jsonrpc" else "authenticate"
    answer = await _ask(channel, dialect, "conformance-token", method, {"token": token})
    if "error" in answer:
        raise Broken(f"the token is refused: {show(answer['error'])}")


async def stop_tasks(channel: Channel, dialect: str, tasks: list[str]) -> None:
    """Stop tasks that may be there. Raises Broken."""
    for task in tasks:
        await _ask(channel, dialect, f"stop-{task}", "stop_task", {"taskId": task})


async def _ask(channel: Channel, dialect: str, id: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
    line = TONGUES[dialect]().ask(id, method, msgspec.Raw(msgspec.json.encode(params)))
    await channel.send(line.removesuffix(b"\n"))
    for _ in range(CLEANUP_TRIES):
        message = await channel.receive()
        if isinstance(message, dict) and message.get("id") == id and "type" not in message:
            return message
    raise Broken(f"{method} was not answered")
