"""The performers together, in one process, on both of anyio's backends: supervisor, children, hub, store, shell.

The machine and the codec are pure and have their own tests; here is what they are performed with.
"""

import json
import os
import select
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from taskd.agents.base import AgentProfile
from taskd.agents.registry import protocol
from taskd.core.machine import Machine
from taskd.core.stimuli import Asked, Origin, ShutdownAsked
from taskd.model import calls
from taskd.model.errors import Code, TaskdError
from taskd.model.events import TaskError
from taskd.model.ids import ChannelId
from taskd.model.limits import Limits
from taskd.services.bash import Shell
from taskd.services.children import Children
from taskd.services.clock import SystemClock
from taskd.services.hub import Hub
from taskd.services.minting import Minter
from taskd.services.store import Store
from taskd.services.supervisor import Supervisor
from taskd.services.workspace import resolve_cwd
from taskd.wire.jsonrpc import JsonRpc
from tests.kit.fake_pi import PROGRAM

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 20
LIMITS = Limits(stop_eof_seconds=0.2, stop_term_seconds=0.2, stop_abort_seconds=0.2, drain_seconds=0.1)
AGENTS = {
    "shell": AgentProfile("pi", (sys.executable, "-m", "taskd.agents.shell")),
    "fake": AgentProfile("pi", (sys.executable, PROGRAM)),
    "missing": AgentProfile("pi", ("/nonexistent/agent",)),
}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


class Ear:
    """A channel that keeps what it is told."""

    def __init__(self) -> None:
        self.dialect = JsonRpc()
        self.heard: list[dict[str, Any]] = []
        self.flushes = 0
        self._more = anyio.Event()

    def put(self, data: bytes) -> None:
        self.heard += [json.loads(line) for line in data.split(b"\n") if line]

    def flush(self) -> None:
        self.flushes += 1
        self._more.set()

    async def event(self, name: str, task: str) -> dict[str, Any]:
        """Wait for an event of a task; give its params."""
        while True:
            for line in self.heard:
                if line["method"] == name and line["params"].get("taskId") == task:
                    self.heard.remove(line)
                    return line["params"]
            self._more = anyio.Event()
            await self._more.wait()


class House:
    """Everything below the doors."""

    def __init__(self, folder: Path) -> None:
        minter, clock = Minter(), SystemClock()
        self.hub = Hub(clock)
        self.ear = Ear()
        self.hub.attach(self.ear)
        self.store = Store(str(folder), LIMITS, fsync=False)
        self.machine = Machine(
            limits=LIMITS, mint=minter.mint, agents=AGENTS, default_agent="shell", state_dir=str(folder), check=True
        )
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
        self.children = Children(
            profiles=AGENTS, protocol=protocol, environment=lambda name, profile: environment, limits=LIMITS
        )
        self.supervisor = Supervisor(
            machine=self.machine,
            hub=self.hub,
            store=self.store,
            children=self.children,
            shell=Shell(environment, LIMITS),
            clock=clock,
            resolve_cwd=self._resolve_cwd,
            mint=minter.mint,
        )

    async def ask(self, params: calls.Params) -> Any:
        """Call; give the result, or raise the error."""
        answers: list[Any] = []
        done = anyio.Event()

        def answer(result: Any) -> None:
            answers.append(result)
            done.set()

        call = self.supervisor.expect(answer)
        self.supervisor.submit(Asked(Origin(call, ChannelId(1)), params))
        await done.wait()
        assert len(answers) == 1
        if isinstance(answers[0], TaskdError):
            raise answers[0]
        return answers[0]

    async def open(self, task: str, agent: str = "shell") -> Any:
        result = await self.ask(calls.CreateOrOpenTask(task_id=task, agent=agent))
        await self.ask(calls.SwitchTask(task_id=task))
        await self.ear.event("task_ready", task)
        return result

    def _resolve_cwd(self, record: Any) -> str:
        paths = self.store.paths(record.task_id)
        return resolve_cwd(None, None, None, paths.work_dir, paths.task_dir)


@pytest.fixture
async def house(tmp_path):
    """A running house that is shut down in order."""
    house = House(tmp_path)
    with anyio.fail_after(PATIENCE_SECONDS):
        await house.supervisor.load()
        async with anyio.create_task_group() as group:
            group.start_soon(house.supervisor.run)
            yield house
            house.supervisor.submit(ShutdownAsked("the test is over"))
    assert len(house.children) == 0


@pytest.mark.parametrize("agent", ["shell", "fake"])
async def test_a_task_from_its_opening_to_its_stop(house, agent):
    opened = await house.open("a", agent)
    assert (opened.state, opened.mode, opened.incarnation) == ("ready", "created", 1)

    accepted = await house.ask(calls.Prompt(message="echo hello"))
    assert (await house.ear.event("turn_started", "a"))["turnId"] == accepted.turn_id
    assert "hello" in (await house.ear.event("agent_output", "a"))["chunk"]
    assert (await house.ear.event("agent_end", "a"))["turnNumber"] == 1
    assert house.store.read_session("a", 1).turn_count == 1

    assert (await house.ask(calls.StopTask(task_id="a"))).state == "stopped"
    assert (await house.ear.event("task_stopped", "a"))["reason"] == "requested"
    assert len(house.children) == 0
    assert (await house.open("a", agent)).mode == "resumed"


async def test_tasks_run_side_by_side(house):
    async with anyio.create_task_group() as group:
        for task in "abc":
            group.start_soon(house.ask, calls.CreateOrOpenTask(task_id=task))
    for task in "abc":
        await house.ask(calls.SwitchTask(task_id=task))
        await house.ear.event("task_ready", task)
        await house.ask(calls.Prompt(message=f"echo {task}"))
    for task in "cba":
        assert (await house.ear.event("agent_output", task))["chunk"] == f"{task}\n"
        await house.ear.event("agent_end", task)


async def test_death_in_a_turn_is_told_and_recovered(house):
    await house.open("a", "fake")
    await house.ask(calls.Prompt(message="@text half\n@die"))
    assert (await house.ear.event("task_error", "a"))["code"] == "PI_PROCESS_DEAD"
    assert (await house.open("a")).mode == "recovered"
    assert house.machine.world.tasks["a"].record.model == "bash"


async def test_what_cannot_be_spawned_is_refused(house):
    with pytest.raises(TaskdError) as refused:
        await house.ask(calls.CreateOrOpenTask(task_id="a", agent="missing"))
    assert refused.value.code is Code.TASK_BOOTSTRAP_FAILED
    assert len(house.children) == 0


async def test_an_agent_that_ignores_everything_is_killed(house):
    await house.open("a", "fake")
    await house.ask(calls.Prompt(message="@ignore term eof\n@escape pid\n@text stubborn"))
    await house.ear.event("agent_end", "a")
    pid = int(await anyio.Path(house.store.paths("a").work_dir, "pid").read_text())
    await house.ask(calls.StopTask(task_id="a"))
    assert gone(pid)


async def test_shell_commands_are_bounded_in_time_and_output(house):
    result = await house.ask(calls.SystemBash(command="echo out; echo err >&2; exit 3", cwd="/"))
    assert (result.output, result.exit_code) == ("out\nerr\n", 3)
    result = await house.ask(calls.SystemBash(command="sleep 1000 & echo $!; sleep 1000", timeout_seconds=0.1))
    assert (result.exit_code, result.timed_out) == (124, True)
    assert gone(int(result.output))


async def test_text_that_is_no_utf8_is_told_with_a_mark(house):
    house.hub.publish("a", TaskError(code="X", message="no \udcff", retryable=False, incarnation=1))
    assert (await house.ear.event("task_error", "a"))["message"] == "no \ufffd"


async def test_a_burst_is_one_write(house):
    await house.open("a", "fake")
    house.ear.flushes = 0
    await house.ask(calls.Prompt(message="@flood 20000 10"))
    await house.ear.event("agent_end", "a")
    assert house.ear.flushes < 1000


async def test_a_fault_of_the_machine_is_answered_and_ends_nothing(house, monkeypatch):
    step = house.machine.step

    def fails(stimulus: Any, mono: float, wall: str) -> Any:
        if isinstance(stimulus, Asked) and isinstance(stimulus.params, calls.Abort):
            raise ZeroDivisionError("a mistake of ours")
        return step(stimulus, mono, wall)

    monkeypatch.setattr(house.machine, "step", fails)
    with pytest.raises(TaskdError) as refused:
        await house.ask(calls.Abort())
    assert refused.value.code is Code.INTERNAL_ERROR
    assert (await house.open("a")).state == "ready"


async def test_a_cancelled_house_leaves_no_process(tmp_path):
    house = House(tmp_path)
    with anyio.fail_after(PATIENCE_SECONDS):
        async with anyio.create_task_group() as group:
            group.start_soon(house.supervisor.run)
            await house.open("a")
            await house.ask(calls.Prompt(message="echo $PPID; setsid sleep 1000 & echo $!; exec sleep 1000"))
            text = ""
            while text.count("\n") < 2:
                text += (await house.ear.event("agent_output", "a"))["chunk"]
            group.cancel_scope.cancel()
    assert all(gone(int(pid)) for pid in text.split())


def gone(pid: int) -> bool:
    """Wait until a process has ended; it may be a zombie of somebody who does not look."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(PATIENCE_SECONDS * 1000))
    finally:
        os.close(descriptor)
