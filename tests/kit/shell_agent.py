"""The built-in agent as a process with one session, for its tests."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from taskd.agents.shell import PROGRAM
from tests.kit.fake_pi_pipes import Pipes


class Shell(Pipes):
    """The agent with one session."""

    def __init__(self, session: Path, work: Path, *arguments: str) -> None:
        argv = [sys.executable, "-I", "-S", PROGRAM, "--mode", "rpc", "--session", str(session), *arguments]
        super().__init__(argv, cwd=work, env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"})
        self.session = session

    def prompt(self, text: str, **fields: Any) -> None:
        self.send("prompt", message=text, **fields)

    def answer_to(self, text: str) -> str:
        """Prompt, and read to the end of the run; the text of the last message."""
        self.prompt(text)
        return self.settle()

    def settle(self) -> str:
        end = self.until("agent_end")
        self.until("agent_settled")
        return said(end["messages"][-1])

    def deltas(self) -> list[str]:
        events = [line["assistantMessageEvent"] for line in self.heard if line["type"] == "message_update"]
        return [event["delta"] for event in events if event["type"] == "text_delta"]

    def types(self) -> list[str]:
        return [line["type"] for line in self.heard]

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.session.read_bytes().split(b"\n") if line]

    def saved(self) -> list[dict[str, Any]]:
        return [entry["message"] for entry in self.entries() if entry["type"] == "message"]


def said(message: dict[str, Any]) -> str:
    return "".join(block.get("text", "") for block in message["content"])
