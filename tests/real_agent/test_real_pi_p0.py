"""Real pi behind the dialect of the replaced system, whose hosts read pi's own lines on the same socket."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.daemon import Host, Refused, event_name
from tests.kit.pi_bench import OLD_DIALECT, bash
from tests.kit.pi_home import MODEL, OTHER_MODEL, PROVIDER
from tests.real_agent.pi_guest import ASKS, SLOW_RETRY, PiGuest, script

pytestmark = pytest.mark.real_agent


class OldHost:
    """A host of the replaced system: it asks by name and payload, and reads pi's own lines."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._calls = 0

    def ask(self, command: str, **payload: Any) -> Any:
        """Ask and give the result; raises `Refused`."""
        self._calls += 1
        call = f"call-{self._calls}"
        self.host.send({"id": call, "type": command, "payload": payload})
        return self.host.result(call)

    def open(self, task: str) -> None:
        """Open a task and make it active."""
        self.ask("create_or_open_task", taskId=task)
        self.ask("switch_task", taskId=task)
        self.host.event("task_ready", task)

    def prompt(self, *lines: str) -> None:
        """Prompt with these lines."""
        self.ask("prompt", message=script(*lines))

    def hears(self, type_: str) -> dict[str, Any]:
        """Wait for a line of pi's own of this type."""
        return self.host.until(lambda line: is_pis(line) and line["type"] == type_)


def test_a_p0_host_reads_pis_own_lines_before_the_events_that_they_cause(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        old = OldHost(host)
        old.open("a")
        began = len(host.seen)
        old.prompt('@text "hel"', "@gate on", '@text "wor\\u2028ld"', bash("echo printed"), "@text done")
        guest.model.gate("on").open()
        host.event("agent_end")

        lines = host.seen[began:]
        pis = [line for line in lines if is_pis(line)]
        types = [line["type"] for line in pis]
        assert types[0] == "agent_start"
        assert types[-1] == ("agent_end" if guest.pi.name == OLD_DIALECT else "agent_settled")
        assert {"turn_start", "message_start", "message_end", "tool_execution_start", "turn_end"} <= set(types)
        assert "response" not in types
        assert lines.index(pis[-1]) < next(n for n, line in enumerate(lines) if event_name(line) == "agent_end")
        assert _deltas(pis) == _outputs(lines) == "helwor\u2028lddone"


def test_a_p0_host_reads_the_lines_of_the_active_task_alone(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        old = OldHost(host)
        for task in ("b", "a"):
            old.open(task)
        old.prompt("@text a1", "@gate on", "@text a2")
        host.event("agent_output", "a")
        old.ask("switch_task", taskId="b")
        host.event("task_ready", "b")
        began = len(host.seen)
        guest.model.gate("on").open()
        host.event("agent_end", "a")

        assert [line for line in host.seen[began:] if is_pis(line)] == []
        assert _outputs(host.seen[began:]) == "a2"


def test_a_p0_host_uses_models_state_and_questions_by_their_old_names(guest: PiGuest) -> None:
    with guest.daemon(extensions=[ASKS]) as daemon, daemon.connect() as host:
        old = OldHost(host)
        old.open("a")
        assert {(model["provider"], model["id"]) for model in old.ask("pi_get_available_models")["models"]} >= {
            (PROVIDER, MODEL),
            (PROVIDER, OTHER_MODEL),
        }
        assert old.ask("pi_set_model", provider=PROVIDER, modelId=OTHER_MODEL)["id"] == OTHER_MODEL
        with pytest.raises(Refused):
            old.ask("pi_set_model", provider=PROVIDER, modelId="nope")
        old.prompt(bash(": guarded", "echo ran"), "@text done")
        question = old.hears("extension_ui_request")
        assert old.ask("runtime_get_state")["tasks"][0]["promptInFlight"] is True
        old.ask("extension_ui_response", id=question["id"], confirmed=True)
        host.event("agent_end")

        assert guest.last_request().model == OTHER_MODEL
        assert "ran" in guest.last_request().messages[-1]["content"]


def test_an_abort_ends_the_pause_before_another_try(guest: PiGuest) -> None:
    """Told in P0, since only pi's own line says that the pause has begun."""
    with guest.daemon(pi_settings=SLOW_RETRY) as daemon, daemon.connect() as host:
        old = OldHost(host)
        old.open("a")
        old.prompt("@status 503")
        old.hears("auto_retry_start")
        assert [line for line in host.seen if event_name(line) == "agent_end"] == []
        old.ask("abort")

        assert host.event("agent_end")["payload"]["stopReason"] == "aborted"


def is_pis(line: dict[str, Any]) -> bool:
    """Whether a line is pi's own, as hosts of the replaced system tell: no answer, and no event."""
    return ("ok" not in line and event_name(line) is None) or line.get("type") == "extension_ui_request"


def _deltas(pis: list[dict[str, Any]]) -> str:
    changes = [line["assistantMessageEvent"] for line in pis if line["type"] == "message_update"]
    return "".join(change["delta"] for change in changes if change["type"] == "text_delta")


def _outputs(lines: list[dict[str, Any]]) -> str:
    return "".join(line["payload"]["chunk"] for line in lines if event_name(line) == "agent_output")
