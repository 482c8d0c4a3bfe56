"""A model endpoint for real agents, on this machine and without a model: OpenAI chat completions, streamed.

What it replies is written in the prompt itself (`model_script`), so a test reads as one piece:

    with MockModel() as model:
        ... prompt an agent with "@text before\\n@gate half\\n@text after"
        model.gate("half").wait_reached()      # the agent has been sent "before"; nothing more comes until
        model.gate("half").open()

Every request is kept with its body, so a test can assert on what the model was told, and on what it was not told.
Also a program: `python -m tests.kit.mock_model` prints `{"port": N}` and serves until SIGINT or SIGTERM; there
`POST /gates/NAME` opens a gate and `GET /requests` shows what was asked.

Rules: standard library only; one thread with an event loop of its own, so any kind of test can use it; no test has to
sleep (gates, `wait_for_requests`, `wait_ended`); every wait is bounded. One request per connection keeps HTTP small.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Self

from tests.kit.model_http import HEADER_LIMIT, ReplyStream, read_request, send_json
from tests.kit.model_script import Await, Drop, Hang, Message, Pause, Reply, Say, ScriptError, reply_to

HOST = "127.0.0.1"
MODELS = ("mock-1", "mock-2")
PATIENCE_S = 20.0
"""How long a test waits for something before it fails: far above any start of an agent, below the test's own limit."""
TOKENS_PER_MESSAGE = 10
"""Input tokens are counted by message, not by text, so that a transcript does not depend on the length of paths."""
GATE_LIMIT_S = 60.0
"""How long a reply waits at a gate that nobody opens; then it is cut."""


class ModelRequest:
    """One request as the model saw it.

    `body` is the JSON of it. `outcome`, once it has ended: finished, refused (an HTTP status of the script), dropped,
    client_left (the agent went away or aborted), gate_expired, or closed (the mock was closed during the reply).
    """

    def __init__(self, number: int, attempt: int, body: dict[str, Any]) -> None:
        self.number = number
        self.attempt = attempt
        self.body = body
        self.outcome: str | None = None
        self._ended = threading.Event()

    @property
    def messages(self) -> list[Message]:
        return list(self.body.get("messages", []))

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))

    @property
    def text(self) -> str:
        """Everything the model was told in this request, as one string to search in."""
        return json.dumps(self.body, ensure_ascii=False)

    def end(self, outcome: str) -> None:
        self.outcome = outcome
        self._ended.set()

    def wait_ended(self, timeout: float = PATIENCE_S) -> str:
        """The outcome.

        :raises TimeoutError: it is still running after `timeout` seconds
        """
        if not self._ended.wait(timeout):
            raise TimeoutError(f"model request {self.number} has not ended")
        return str(self.outcome)


class Gate:
    """A place in a reply where the model waits for the test. Once open it stays open."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self._loop = loop
        self._opened = asyncio.Event()
        self._reached = threading.Event()

    def open(self) -> None:
        self._loop.call_soon_threadsafe(self._opened.set)

    def wait_reached(self, timeout: float = PATIENCE_S) -> None:
        """Return when a reply stands at the gate, or has passed it.

        :raises TimeoutError: none came within `timeout` seconds
        """
        if not self._reached.wait(timeout):
            raise TimeoutError(f"no reply came to the gate {self.name!r}")

    async def passed(self) -> None:
        self._reached.set()
        await asyncio.wait_for(self._opened.wait(), GATE_LIMIT_S)


class MockModel:
    """The endpoint as a context manager: it listens when entered, and when left it cuts every reply and closes."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._requests: list[ModelRequest] = []
        self._changed = threading.Condition()
        self._gates: dict[str, Gate] = {}
        self._replies: set[asyncio.Task[None]] = set()
        self._listening = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="mock-model", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._listening.wait(PATIENCE_S) or self._failure is not None:
            raise RuntimeError("the mock model did not start") from self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cut every reply under way and stop listening; a second call does nothing."""
        if not self._thread.is_alive():
            return
        # RACE: only this call ends the loop, and it is made by the one thread that owns the mock.
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            raise RuntimeError("the mock model did not stop")

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.port}/v1"

    @property
    def requests(self) -> list[ModelRequest]:
        """Every completion asked for so far, oldest first."""
        with self._changed:
            return list(self._requests)

    def gate(self, name: str) -> Gate:
        # RACE: the test and a reply may both be the first to name it; setdefault keeps one of the two.
        return self._gates.setdefault(name, Gate(name, self._loop))

    def wait_for_requests(self, count: int, timeout: float = PATIENCE_S) -> list[ModelRequest]:
        """The requests, once there are at least `count`.

        :raises TimeoutError: there are still fewer after `timeout` seconds
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._requests) >= count, timeout):
                raise TimeoutError(f"{len(self._requests)} model requests, not {count}")
            return list(self._requests)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._failure = error
            self._listening.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, HOST, self.port, limit=HEADER_LIMIT)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._stop.wait()
        server.close()
        replies = list(self._replies)
        for reply in replies:
            reply.cancel()
        await asyncio.gather(*replies, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reply = asyncio.create_task(self._answer(reader, writer))
        self._replies.add(reply)
        reply.add_done_callback(self._replies.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            try:
                method, path, body = await read_request(reader)
                if (method, path) == ("POST", "/v1/chat/completions"):
                    await self._complete(body, reader, writer)
                else:
                    await send_json(writer, *self._control(method, path))
            except ValueError as error:
                await send_json(writer, 400, {"error": {"message": str(error), "type": "mock_error"}})
            finally:
                await _close(writer)

    def _control(self, method: str, path: str) -> tuple[int, object]:
        """Everything that is not a completion: (status, JSON)."""
        if (method, path) == ("GET", "/v1/models"):
            return 200, {"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]}
        if (method, path) == ("GET", "/requests"):
            return 200, [{"body": asked.body, "outcome": asked.outcome} for asked in self.requests]
        if method == "POST" and path.startswith("/gates/"):
            self.gate(path.removeprefix("/gates/")).open()
            return 200, {}
        return 404, {"error": {"message": f"no {method} {path} here", "type": "mock_error"}}

    async def _complete(self, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = self._record(_completion(body))
        outcome = "closed"
        try:
            outcome = await self._perform(request, reader, writer)
        except ScriptError:
            outcome = "refused"
            raise
        except ConnectionError:
            outcome = "client_left"
            raise
        finally:
            request.end(outcome)

    def _record(self, body: dict[str, Any]) -> ModelRequest:
        with self._changed:
            attempt = sum(earlier.body == body for earlier in self._requests)
            request = ModelRequest(len(self._requests), attempt, body)
            self._requests.append(request)
            self._changed.notify_all()
        return request

    async def _perform(self, request: ModelRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        reply = reply_to(request.messages)
        refusal = reply.refusal
        if refusal and (refusal.times is None or request.attempt < refusal.times):
            message = {"error": {"message": f"scripted status {refusal.status}", "type": "mock_error"}}
            await send_json(writer, refusal.status, message)
            return "refused"
        playing = asyncio.create_task(self._play(request, reply, writer))
        # The client sends nothing after its request, so the end of this read is the moment when it leaves.
        leaving = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({playing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return await playing if playing.done() else "client_left"
        finally:
            playing.cancel()
            leaving.cancel()
            await asyncio.gather(playing, leaving, return_exceptions=True)

    async def _play(self, request: ModelRequest, reply: Reply, writer: asyncio.StreamWriter) -> str:
        stream = ReplyStream(writer, request.number, request.model)
        try:
            for step in reply.steps:
                if isinstance(step, Say):
                    await stream.delta(step.text, step.thinking)
                else:
                    await stream.flush()
                    await self._wait(step)
        except _CutError:
            return "dropped"
        except TimeoutError:
            return "gate_expired"
        said = stream.deltas + len(reply.calls)
        await stream.finish(reply.calls, reply.usage or (TOKENS_PER_MESSAGE * len(request.messages), said))
        return "finished"

    async def _wait(self, step: Pause | Await | Hang | Drop) -> None:
        match step:
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Await(name):
                await self.gate(name).passed()
            case Hang():
                await asyncio.Event().wait()
            case Drop():
                raise _CutError


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close when all is sent; at once, and with nothing left open, when the mock itself is closing."""
    try:
        writer.close()
        await writer.wait_closed()
    finally:
        writer.transport.abort()


def _completion(body: bytes) -> dict[str, Any]:
    asked = json.loads(body)
    if not isinstance(asked, dict) or asked.get("stream") is not True:
        raise ValueError("not a streamed chat completion")
    return asked


class _CutError(Exception):
    """The script wants the reply to break off here."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="mock_model", description="A scripted chat-completions endpoint.")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on (0: any)")
    port: int = parser.parse_args(argv).port
    # Blocked before the first thread starts, so that none of them takes the signal from `sigwait`.
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with MockModel(port) as model:
        print(json.dumps({"port": model.port}), flush=True)
        signal.sigwait(ends)
    return 0


if __name__ == "__main__":
    sys.exit(main())
