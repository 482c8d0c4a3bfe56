"""The acts of the demo: what is done with the daemon, in four parts."""

import os
import signal
from functools import partial
from statistics import median
from typing import Final

import anyio

from host_client.cli.demo.script import MODEL, SHELL, Script
from host_client.cli.demo.stage import BUILT_IN, Stage, find_agent_process
from host_client.cli.demo.story import Story
from host_client.cli.escapes import one_line
from host_client.cli.tasks import count
from host_client.client import Client
from host_client.connecting import connect
from host_client.errors import HostError, TurnFailed
from host_client.notices import GuestEvent
from taskd.model.events import AgentOutput, TaskError, ToolStarted

SWITCHES: Final = 50
"""Enough for a median; a quarter of a second at worst."""

PROMPT_SECONDS: Final = 120.0
"""The longest wait for an answer; a model may take its time."""

DEATH_SECONDS: Final = 10.0
"""The daemon has noticed by then that an agent is dead."""

TASKS: Final = ("apples", "pears")


class Acts:
    """The demo, from the curtain to the closing table."""

    def __init__(self, story: Story, stage: Stage) -> None:
        self._story = story
        self._stage = stage
        self._agent = BUILT_IN
        self._script: Script = SHELL

    async def perform(self) -> None:
        """Do it all.

        Raises:
            HostError: something did not go as it should.
        """
        story, stage = self._story, self._stage
        await self._start("start the daemon")
        async with connect(stage.address) as client:
            self._introduce(client)
            await self._two_tasks(client)
            await self._switches(client)
            await self._crash(client)
        story.title("4. The daemon is stopped and started again. The conversations are on disk.")
        with story.step("stop the daemon", "agents gone, exit 0"):
            await stage.stop()
        story.say("SIGTERM: turns saved, agents stopped, exit code 0")
        await self._start("start it again")
        async with connect(stage.address) as client:
            await self._resume(client)
        with story.step("stop it again", "agents gone, exit 0"):
            await stage.stop()
        story.end(self._agent)

    async def _start(self, step: str) -> None:
        with self._story.step(step, "it answers"):
            await self._stage.start()

    def _introduce(self, client: Client) -> None:
        self._agent = self._stage.choose(client.hello.agents if client.hello else ())
        self._script = SHELL if self._agent == BUILT_IN else MODEL
        say = self._story.line
        say("taskd keeps coding agents alive inside a machine; a program outside drives them.", "bold")
        say(f"This is a real one, with {self._script.about.format(agent=self._agent)}.")
        if self._agent != BUILT_IN:
            say(f"Settings: {self._stage.settings} (taskctl demo --agent shell needs no model)", "dim")
        say(f"Its socket, its log and its tasks are in {self._stage.folder}", "dim")

    async def _two_tasks(self, client: Client) -> None:
        story = self._story
        story.title("1. Two tasks. Each has an agent process, a conversation and a folder of its own.")
        with story.step(f"open {' and '.join(TASKS)}", "created, their agents answer"):
            async with anyio.create_task_group() as opening:
                for task in TASKS:
                    opening.start_soon(partial(client.open, task, agent=self._agent))
        for task in TASKS:
            await client.switch(task)
            with story.step(f"a prompt to {task}", "answered, on disk"):
                await self._prompt(client, task, self._script.first)
        folder = (await client.get_task(TASKS[0])).task_dir
        story.say(f"on disk: {folder}/session.json", "dim")

    async def _switches(self, client: Client) -> None:
        story = self._story
        story.title("2. One task is active at a time. A switch leaves the other's agent as it is.")
        times = [(await client.switch(TASKS[number % len(TASKS)])).seconds * 1000 for number in range(1, SWITCHES + 1)]
        story.say(f"{SWITCHES} switches: half of them within {median(times):.1f} ms, all within {max(times):.1f} ms")
        story.add(f"a switch, median of {SWITCHES}", "active", median(times))

    async def _crash(self, client: Client) -> None:
        story, task = self._story, TASKS[0]
        story.title("3. An agent is killed in the middle of its work.")
        await client.switch(task)
        with story.step("kill an agent in a turn", "the host is told"):
            error = await self._kill_in_turn(client, task)
        story.say(f"the host is told: {error}", "red")
        with story.step(f"recover {task}", "a new agent answers"):
            opened = await client.open(task)
        await client.switch(task)
        turns = count(opened.turn_count, "turn")
        story.say(f"open {task}: {opened.mode} with {turns}, nothing that was done is lost")
        with story.step("a prompt after the crash", "answered, on disk"):
            await self._prompt(client, task, self._script.again)

    async def _resume(self, client: Client) -> None:
        story, task = self._story, TASKS[1]
        state = await client.get_state()
        known = " and ".join(f"{task.task_id} ({count(task.turn_count, 'turn')})" for task in state.tasks)
        story.say(f"the new daemon knows {known}")
        with story.step(f"resume {task}", "a new agent answers"):
            opened = await client.open(task)
        await client.switch(task)
        story.say(f"open {task}: {opened.mode} with {count(opened.turn_count, 'turn')}")
        with story.step("a prompt after the restart", "answered, on disk"):
            await self._prompt(client, task, self._script.again)

    async def _prompt(self, client: Client, task: str, message: str) -> None:
        message = message.format(task=task)
        self._story.asks(task, message)
        result = None
        with anyio.move_on_after(PROMPT_SECONDS):
            result = await client.prompt(task, message)
        if result is None:
            raise HostError(f"{self._agent} gave no answer within {PROMPT_SECONDS:g} s")
        if result.stop_reason == "error":
            raise HostError(f"{self._agent} reported an error: {one_line(result.error or result.text)}")
        self._story.answers(task, result.text)

    async def _kill_in_turn(self, client: Client, task: str) -> str:
        """Kill the agent at its first sign of work; give the daemon's words."""
        self._story.asks(task, self._script.long)
        killed = False
        async with client.events(task) as events:
            try:
                async for item in client.prompt(task, self._script.long):
                    if not killed and isinstance(item, AgentOutput | ToolStarted):
                        killed = True
                        self._story.answers(task, item.chunk if isinstance(item, AgentOutput) else f"({item.tool})")
                        await self._kill(client, task)
            except TurnFailed as error:
                return _words(error.code, error.message)
            self._story.say("it was done before it died, so it dies idle", "dim")
            if not killed:
                await self._kill(client, task)
            with anyio.move_on_after(DEATH_SECONDS):
                async for heard in events:
                    if isinstance(heard, GuestEvent) and isinstance(heard.event, TaskError):
                        return _words(heard.event.code, heard.event.message)
        raise HostError("the daemon did not notice that the agent was killed")

    async def _kill(self, client: Client, task: str) -> None:
        folder = (await client.get_task(task)).work_dir
        pid = await anyio.to_thread.run_sync(find_agent_process, folder)
        self._story.say(f"kill -9 {pid}", "red")
        os.kill(pid, signal.SIGKILL)


def _words(code: str, message: str) -> str:
    """The error without the advice after it, which the next line of the story is about."""
    return f"{code}, {one_line(message).partition(';')[0]}"
