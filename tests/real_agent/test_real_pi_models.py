"""Which model a real pi uses and how hard it thinks: asked for, changed, refused, and known again after a restart."""

from __future__ import annotations

import pytest

from tests.kit.daemon import Refused
from tests.kit.pi_home import CONTEXT_WINDOW, MODEL, OTHER_MODEL, PROVIDER
from tests.real_agent.pi_guest import PiGuest, task_view, turn

pytestmark = pytest.mark.real_agent


def test_pi_lists_its_models(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        host.open("a")
        models = host.call("list_models")["models"]

        assert [model for model in models if model["provider"] == PROVIDER] == [
            {"provider": PROVIDER, "id": MODEL, "name": "Mock One", "contextWindow": CONTEXT_WINDOW},
            {"provider": PROVIDER, "id": OTHER_MODEL, "name": "Mock Two", "contextWindow": CONTEXT_WINDOW},
        ]


def test_a_model_that_is_set_is_used_and_kept_and_one_that_is_unknown_changes_nothing(guest: PiGuest) -> None:
    daemon = guest.daemon()
    with daemon, daemon.connect() as host:
        host.open("a")
        turn(host, "@text one")
        assert guest.last_request().model == MODEL
        assert host.call("set_model", provider=PROVIDER, model=OTHER_MODEL)["id"] == OTHER_MODEL
        assert host.event("model_changed")["model"] == OTHER_MODEL
        with pytest.raises(Refused, match="AGENT_REFUSED") as refused:
            host.call("set_model", provider=PROVIDER, model="nope")
        assert f"Model not found: {PROVIDER}/nope" in str(refused.value)
        assert (task_view(host, "a")["state"], task_view(host, "a")["model"]) == ("active", OTHER_MODEL)
        turn(host, "@text two")
        assert guest.last_request().model == OTHER_MODEL
        host.call("set_model", provider=PROVIDER, model=MODEL)
    # No turn came after the last change, so pi's own file does not have it.
    with daemon, daemon.connect() as host:
        host.open("a")
        turn(host, "@text three")

        assert guest.last_request().model == MODEL


def test_a_model_that_one_task_sets_is_not_the_model_of_another(guest: PiGuest) -> None:
    """pi 0.74 also makes it the default of all its users."""
    with guest.daemon() as daemon, daemon.connect() as host:
        host.open("a")
        host.call("stop_task", taskId="a")
        host.open("b")
        host.call("set_model", provider=PROVIDER, model=OTHER_MODEL)
        host.open("a")
        turn(host, "@text one")

        assert guest.last_request().model == MODEL


def test_a_task_with_a_model_that_pi_does_not_know_is_not_opened(guest: PiGuest) -> None:
    with guest.daemon() as daemon, daemon.connect() as host:
        with pytest.raises(Refused, match="TASK_BOOTSTRAP_FAILED") as refused:
            host.call("create_or_open_task", taskId="a", provider=PROVIDER, model="nope")
        assert "Model not found" in str(refused.value)
        assert task_view(host, "a")["state"] == "errored"

        assert host.open("a", provider=PROVIDER, model=OTHER_MODEL)["mode"] == "recovered"
        turn(host, "@text one")
        assert guest.last_request().model == OTHER_MODEL


def test_a_thinking_level_reaches_the_model_is_known_again_and_is_cut_to_what_there_is(guest: PiGuest) -> None:
    with guest.daemon(pi_models={"reasoning": True}) as daemon, daemon.connect() as host:
        host.open("a", thinkingLevel="high")
        assert task_view(host, "a")["thinkingLevel"] == "high"
        turn(host, "@text one")
        host.call("stop_task", taskId="a")
        host.open("a")
        turn(host, "@text two")
        assert [request.body["reasoning_effort"] for request in guest.model.requests] == ["high", "high"]

        host.call("stop_task", taskId="a")
        guest.change_models(reasoning=False)
        host.open("a")
        assert task_view(host, "a")["thinkingLevel"] == "off"
