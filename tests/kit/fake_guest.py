"""A guest made of a script: it plays both dialects as a daemon would, without processes, disk or clock.

It knows tasks, switches, turns and repeated request ids well enough to be a host's other end, and does what a real one
does seldom: it keeps silent (`mute`), answers late (`hold`), acknowledges and leaves the rest to the test (`ack_only`),
refuses (`refuse`), hangs up (`drop`) and comes back as another process (`restart`). It must not know anything of the
client but the wire.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import anyio
from anyio.abc import ByteStream, TaskGroup

from tests.kit.fake_guest_wire import AT, Connection, Object, Refusal, Request, accept, memory_pair, unix_listener

WAIT_SECONDS: Final = 10.0
"""How long a test waits for the other side before it fails."""

NO_USAGE: Final[Object] = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "totalTokens": 0, "cost": 0.0}


class FakeGuest:
    """See the head of this file.

    Attributes:
        requests: every request that came, in order.
        answered: those that were answered, and whose events were told.
        effects: names of the methods that had an effect, in order; a repeated id has none.
        tasks: what `get_state` shows, by task id.
        session: completed turns, by task id.
        script: what an agent says in each turn, as (event name, fields).
        remembered: answers to prompts by their prompt id, of turns of long ago.
        mute, ack_only: names of methods.
        refuse: method name to refusal.
        token: what must be shown, if anything.
        driver: the number of the connection that holds the lease; the test ends it, as a guest does that sees an end.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answered: list[Request] = []
        self.effects: list[str] = []
        self.tasks: dict[str, Object] = {}
        self.session: dict[str, list[Object]] = {}
        self.script: list[tuple[str, Object]] = [
            ("agent_output", {"chunk": "Hello, "}),
            ("agent_output", {"chunk": "world."}),
        ]
        self.remembered: dict[str, Object] = {}
        self.mute: set[str] = set()
        self.ack_only: set[str] = set()
        self.refuse: dict[str, Refusal] = {}
        self.token: str | None = None
        self.active: str | None = None
        self.seq = 0
        self.pid = 100
        self.driver: int | None = None
        self.connections: list[Connection] = []
        self.dials = 0
        self.accepting = True
        self._held: dict[str, anyio.Event] = {}
        self._answers: dict[str, Object] = {}
        self._turns = 0
        self._numbers = 0
        self._tasks: TaskGroup | None = None
        self._changed = anyio.Event()

    # For tests ------------------------------------------------------------------------------------------------------

    async def dial(self) -> ByteStream:
        """Connect to it: what `connect` takes in the place of an address."""
        assert self._tasks is not None
        self.dials += 1
        if not self.accepting:
            raise ConnectionRefusedError(111, "Connection refused")
        theirs, ours = memory_pair()
        self._tasks.start_soon(self.serve, ours)
        return theirs

    def hold(self, method: str) -> anyio.Event:
        """Withhold the answers of a method until the event is set."""
        self._held[method] = anyio.Event()
        return self._held[method]

    def say(self, name: str, task_id: str | None = None, **fields: Any) -> None:
        """Tell every host an event."""
        self.seq += 1
        for connection in list(self.connections):
            connection.tell(self.seq, name, task_id, fields)

    async def got(self, method: str, count: int = 1) -> Request:
        """Wait until the `count`-th request of that method has come, and give it."""
        return await self._find(self.requests, method, count)

    async def done(self, method: str, count: int = 1) -> Request:
        """Wait until the `count`-th request of that method was answered, and give it."""
        return await self._find(self.answered, method, count)

    async def _find(self, requests: list[Request], method: str, count: int) -> Request:
        with anyio.fail_after(WAIT_SECONDS):
            while len(found := [request for request in requests if request.method == method]) < count:
                if self._changed.is_set():
                    self._changed = anyio.Event()
                await self._changed.wait()
        return found[count - 1]

    def drop(self) -> None:
        """Hang up on every host."""
        for connection in list(self.connections):
            self.connections.remove(connection)
            connection.hang_up()

    def restart(self) -> None:
        """Come back as another process, which remembers what is on disk."""
        self.drop()
        self.pid += 1
        self.seq = 0
        self.active = None
        self._answers.clear()
        for task in self.tasks.values():
            task |= {"state": "stopped", "incarnation": 0, "promptInFlight": False, "turnId": None, "questions": []}

    def add_task(self, task_id: str, **changes: Any) -> Object:
        """Know a task; ready unless `changes` say otherwise."""
        view = _new_task(task_id) | changes
        self.tasks[task_id] = view
        if view["state"] == "active":
            self.active = task_id
        return view

    def end_turn(self, task_id: str, text: str = "Hello, world.", **changes: Any) -> None:
        """Save the running turn and tell its end."""
        task = self.tasks[task_id]
        turn_id, prompt_id = task["turnId"], task["promptId"]
        self.save_turn(task_id, turn_id, prompt_id, text)
        task |= {"promptInFlight": False, "turnId": None, "promptId": None, "turnCount": len(self.session[task_id])}
        end = {
            "turnId": turn_id,
            "promptId": prompt_id,
            "turnNumber": task["turnCount"],
            "stopReason": "stop",
            "usage": NO_USAGE | {"totalTokens": 7},
            "saveMs": 1.5,
        }
        self.say("agent_end", task_id, **(end | changes))

    def save_turn(self, task_id: str, turn_id: str, prompt_id: str | None, text: str) -> None:
        """Put a turn into the session."""
        turns = self.session.setdefault(task_id, [])
        turns.append(
            {
                "turnId": turn_id,
                "number": len(turns) + 1,
                "promptId": prompt_id,
                "startedAt": AT,
                "endedAt": AT,
                "stopReason": "stop",
                "usage": NO_USAGE | {"totalTokens": 7},
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
                    {"role": "assistant", "content": [{"type": "text", "text": text}]},
                ],
            }
        )

    # Its life -------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FakeGuest"]:
        """Serve for the length of a block."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                yield self
            finally:
                tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def listening(self, path: str) -> AsyncIterator["FakeGuest"]:
        """Serve on a unix socket for the length of a block."""
        async with self.running():
            assert self._tasks is not None
            self._tasks.start_soon(accept, unix_listener(path), self.serve)
            yield self

    async def serve(self, stream: ByteStream) -> None:
        """Serve one host until one side hangs up."""
        self._numbers += 1
        connection = Connection(self._numbers)
        connection.admitted = self.token is None
        self.connections.append(connection)
        async with stream, anyio.create_task_group() as tasks:
            tasks.start_soon(self._read, tasks, connection, stream)
            await connection.write_to(stream)
            tasks.cancel_scope.cancel()
        if connection in self.connections:
            self.connections.remove(connection)

    async def _read(self, tasks: TaskGroup, connection: Connection, stream: ByteStream) -> None:
        rest = b""
        try:
            while True:
                *lines, rest = (rest + await stream.receive()).split(b"\n")
                for line in lines:
                    self._take(tasks, connection, line)
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            connection.hang_up()

    def _take(self, tasks: TaskGroup, connection: Connection, line: bytes) -> None:
        request = connection.read(line)
        if request is not None:
            self.requests.append(request)
            self._changed.set()
            if request.method not in self.mute:
                tasks.start_soon(self._answer, request)

    async def _answer(self, request: Request) -> None:
        if request.method in self._held:
            await self._held[request.method].wait()
        self._do(request)
        self.answered.append(request)
        self._changed.set()

    def _do(self, request: Request) -> None:
        key = f"{request.connection.client_id}:{request.id}"
        if key in self._answers:
            request.connection.answer(request, self._answers[key])
            return
        try:
            result, after = self._handler(request)(self, request)
        except Refusal as refusal:
            request.connection.refuse(request, refusal)
            return
        if request.method in _REMEMBERED:
            self.effects.append(request.method)
            self._answers[key] = result
        request.connection.answer(request, result)
        if after is not None and request.method not in self.ack_only:
            after()

    def _handler(self, request: Request) -> "Handler":
        if request.method in self.refuse:
            raise self.refuse[request.method]
        if not request.connection.admitted and request.method not in ("initialize", "authenticate"):
            raise Refusal("UNAUTHENTICATED", "show the token first")
        handler = _HANDLERS.get(request.method)
        if handler is None:
            raise Refusal("METHOD_NOT_FOUND", f"no method {request.method!r}")
        return handler

    # Methods --------------------------------------------------------------------------------------------------------

    def _task(self, task_id: str) -> Object:
        if task_id not in self.tasks:
            raise Refusal("TASK_NOT_FOUND", f"no task {task_id!r} here")
        return self.tasks[task_id]

    def _initialize(self, request: Request) -> "Outcome":
        self._authenticate(request)
        request.connection.client_id = request.params.get("clientId")
        return {
            "protocolVersion": 1,
            "serverInfo": {"name": "fake", "version": "0", "pid": self.pid},
            "capabilities": {},
            "agents": [{"name": "pi", "protocol": "pi", "isDefault": True}],
            "seq": self.seq,
        }, None

    def _authenticate(self, request: Request) -> "Outcome":
        if self.token is not None and request.params.get("token") != self.token:
            raise Refusal("UNAUTHENTICATED", "that token is not right")
        request.connection.admitted = True
        return {"authenticated": True}, None

    def _get_state(self, request: Request) -> "Outcome":
        return {"activeTaskId": self.active, "tasks": list(self.tasks.values()), "seq": self.seq}, None

    def _get_task(self, request: Request) -> "Outcome":
        return self._task(request.params["taskId"]), None

    def _get_session(self, request: Request) -> "Outcome":
        task = self._task(request.params["taskId"])
        turns = self.session.get(task["taskId"], [])
        first = int(request.params.get("fromTurn", 1))
        return {
            "taskId": task["taskId"],
            "agent": task["agent"],
            "turnCount": len(turns),
            "usage": NO_USAGE,
            "provider": None,
            "model": None,
            "thinkingLevel": None,
            "savedAt": AT,
            "turns": turns[max(first, 1) - 1 :],
        }, None

    def _open(self, request: Request) -> "Outcome":
        task_id = request.params["taskId"]
        before = self.tasks.get(task_id)
        if before is not None and before["state"] not in ("stopped", "errored"):
            raise Refusal("TASK_NOT_READY", f"task {task_id} is {before['state']}", True)
        mode = {"stopped": "resumed", "errored": "recovered"}[before["state"]] if before else "created"
        task = before or self.add_task(task_id)
        task |= {"state": "ready", "incarnation": task["incarnation"] + 1, "lastError": None}
        result = {name: task[name] for name in ("taskId", "state", "agent", "incarnation", "turnCount", "abilities")}
        result |= {"mode": mode, "bootstrapStatus": "ready", "resumable": True}

        def after() -> None:
            self.say("task_bootstrap_state", task_id, status="ready", incarnation=task["incarnation"], mode=mode)

        return result, after

    def _switch(self, request: Request) -> "Outcome":
        task = self._task(request.params["taskId"])
        if task["state"] not in ("ready", "idle", "active"):
            raise Refusal("TASK_NOT_READY", f"task {task['taskId']} is {task['state']}", True)

        def after() -> None:
            self.say("task_switch_started", task["taskId"])
            self.make_active(task["taskId"])

        return {"status": "switching", "taskId": task["taskId"]}, after

    def make_active(self, task_id: str) -> None:
        """End a switch well."""
        if self.active in self.tasks:
            self.tasks[self.active]["state"] = "idle"
        self.active = task_id
        self.tasks[task_id]["state"] = "active"
        self.say("task_ready", task_id, incarnation=self.tasks[task_id]["incarnation"])

    def _prompt(self, request: Request) -> "Outcome":
        task_id = request.params.get("taskId") or self.active
        if request.params.get("promptId") in self.remembered:
            return self.remembered[request.params["promptId"]], None
        if self.active is None or task_id != self.active or self.tasks[self.active]["promptInFlight"]:
            raise Refusal("TASK_NOT_READY", "no such active task, or it is at work", True)
        self._turns += 1
        turn_id, prompt_id = f"turn_{self._turns}", request.params.get("promptId") or f"prompt_{self._turns}"
        task = self.tasks[self.active]
        task |= {"promptInFlight": True, "turnId": turn_id, "promptId": prompt_id}

        def after() -> None:
            self.begin_turn(task["taskId"])
            for name, fields in self.script:
                own = {} if name == "agent_output" else {"turnId": turn_id}
                self.say(name, task["taskId"], **(own | fields))
            self.end_turn(task["taskId"])

        return {"accepted": True, "taskId": task_id, "promptId": prompt_id, "turnId": turn_id}, after

    def begin_turn(self, task_id: str) -> None:
        """Tell that the accepted prompt was handed to the agent."""
        task = self.tasks[task_id]
        fields = {"turnId": task["turnId"], "promptId": task["promptId"], "incarnation": task["incarnation"]}
        self.say("turn_started", task_id, **fields)

    def _stop(self, request: Request) -> "Outcome":
        task = self._task(request.params["taskId"])
        was, task["state"] = task["state"], "stopped"
        if self.active == task["taskId"]:
            self.active = None

        def after() -> None:
            if was != "stopped":
                self.say("task_stopped", task["taskId"], reason="requested")

        return {"taskId": task["taskId"], "state": "stopped"}, after

    def _say_to_turn(self, request: Request) -> "Outcome":
        task = self.tasks[request.params.get("taskId") or self.active or ""]
        return {"queued": True, "taskId": task["taskId"], "turnId": task["turnId"] or ""}, None

    def _abort(self, request: Request) -> "Outcome":
        task = self.tasks[request.params.get("taskId") or self.active or ""]
        turn_id = task["turnId"]

        def after() -> None:
            if turn_id is not None:
                self.end_turn(task["taskId"], stopReason="aborted")

        return {"aborting": turn_id is not None, "taskId": task["taskId"], "turnId": turn_id}, after

    def _answer_question(self, request: Request) -> "Outcome":
        # P0 hosts name the question `id`, and are told nothing.
        request_id = request.params.get("requestId") or request.params.get("id")
        if request.connection.p0:
            return {}, None
        return {"answered": True, "taskId": self.active or "", "requestId": request_id}, None

    def _list_models(self, request: Request) -> "Outcome":
        return {"models": [{"provider": "mock", "id": "small", "name": "Small"}]}, None

    def _set_model(self, request: Request) -> "Outcome":
        model = request.params["model"]
        result = {"id": model, "name": model, "provider": request.params["provider"]}
        return result if request.connection.p0 else result | {"taskId": self.active or ""}, None

    def _bash(self, request: Request) -> "Outcome":
        result = {"output": "ok\n", "exitCode": 0, "timedOut": False, "truncated": False, "droppedBytes": 0, "cwd": "/"}
        return result, None

    def _ping(self, request: Request) -> "Outcome":
        return {"at": AT}, None

    def _take_driver(self, request: Request) -> "Outcome":
        number = request.connection.number
        if self.driver not in (None, number) and not request.params.get("force"):
            raise Refusal("NOT_DRIVER", f"channel {self.driver} drives", True, {"driver": self.driver})
        was, self.driver = self.driver, number
        news = None if was == number else partial(self.say, "driver_changed", held=True, channel=number)
        return {"driver": True}, news

    def _release_driver(self, request: Request) -> "Outcome":
        self.driver = None
        return {"driver": False}, partial(self.say, "driver_changed", held=False)

    def _shutdown(self, request: Request) -> "Outcome":
        return {}, self.drop

    def _diag(self, request: Request) -> "Outcome":
        names = ("channels", "tasks", "story")
        lists: Object = {name: [] for name in names}
        objects: Object = {name: {} for name in ("limits", "settings", "counters")}
        facts = {"timestamp": AT, "pid": self.pid, "version": "0", "uptimeSeconds": 1.0, "taskCount": len(self.tasks)}
        return facts | {"activeTaskId": self.active} | lists | objects, None


Outcome = tuple[Object, Callable[[], None] | None]
Handler = Callable[[FakeGuest, Request], Outcome]

_HANDLERS: Final[dict[str, Handler]] = {
    "initialize": FakeGuest._initialize,
    "authenticate": FakeGuest._authenticate,
    "ping": FakeGuest._ping,
    "get_state": FakeGuest._get_state,
    "get_task": FakeGuest._get_task,
    "get_session": FakeGuest._get_session,
    "create_or_open_task": FakeGuest._open,
    "switch_task": FakeGuest._switch,
    "prompt": FakeGuest._prompt,
    "stop_task": FakeGuest._stop,
    "steer": FakeGuest._say_to_turn,
    "follow_up": FakeGuest._say_to_turn,
    "abort": FakeGuest._abort,
    "answer": FakeGuest._answer_question,
    "list_models": FakeGuest._list_models,
    "set_model": FakeGuest._set_model,
    "system_bash": FakeGuest._bash,
    "take_driver": FakeGuest._take_driver,
    "release_driver": FakeGuest._release_driver,
    "diag": FakeGuest._diag,
    "shutdown": FakeGuest._shutdown,
}

_REMEMBERED: Final = frozenset(
    {
        "create_or_open_task",
        "switch_task",
        "prompt",
        "stop_task",
        "steer",
        "follow_up",
        "abort",
        "answer",
        "set_model",
        "system_bash",
    }
)
"""Methods of which a repeated request id has no second effect."""


def _new_task(task_id: str) -> Object:
    folder = f"/state/{task_id}"
    nothing = ("turnId", "provider", "model", "thinkingLevel", "workingFolder", "workingFolderRelative", "currentCwd")
    return dict.fromkeys((*nothing, "bootstrapError", "bootstrapUpdatedAt", "lastError", "promptId")) | {
        "taskId": task_id,
        "state": "ready",
        "agent": "pi",
        "incarnation": 1,
        "promptInFlight": False,
        "turnCount": 0,
        "usage": NO_USAGE,
        "sessionFile": f"{folder}/session.json",
        "taskDir": folder,
        "workDir": f"{folder}/work",
        "outputsDir": f"{folder}/outputs",
        "uploadsDir": f"{folder}/uploads",
        "bootstrapStatus": "ready",
        "abilities": {"resume": True, "images": False, "steer": True, "models": True, "questions": True},
        "questions": [],
    }
