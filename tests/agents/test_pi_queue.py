"""Messages that wait in pi for a run to hear them, when no run will: they must not pop up in a later turn."""

from typing import Any

import pytest

from taskd.agents.pi_codec import TOO_LATE
from taskd.model import agent
from tests.agents.pi_replay import Value
from tests.agents.pi_talk import (
    RUN_ENDS,
    RUN_ENDS_FOR_GOOD,
    RUN_STARTS,
    SETTLED,
    SETTLED_BY_ABORT,
    Talk,
    answered,
    ends,
    of_kind,
)

SAY = pytest.mark.parametrize("say", [agent.Steer, agent.FollowUp])


@pytest.fixture
def talk() -> Talk:
    return Talk()


def queue(*steering: str, follow_up: tuple[str, ...] = ()) -> Value:
    return {"type": "queue_update", "steering": list(steering), "followUp": list(follow_up)}


def held(*steering: str) -> Value:
    return {"steering": list(steering), "followUp": []}


def over(talk: Talk) -> None:
    """A whole turn of a newer pi."""
    talk.new_prompt()
    assert of_kind(talk.pi(RUN_STARTS, answered("stop"), RUN_ENDS_FOR_GOOD, SETTLED), agent.TurnEnded)


@SAY
def test_a_message_that_a_running_turn_hears_is_answered_at_once(talk: Talk, say: Any) -> None:
    talk.new_prompt()
    (command,) = talk.tell(say(7, "more"))
    talk.pi(RUN_STARTS, queue("more"))
    assert talk.answer(command, {"disposition": "queued"}) == [agent.Answered(7, True)]
    talk.pi(queue(), answered("stop"), RUN_ENDS_FOR_GOOD, SETTLED)
    assert talk.asks() == []


@SAY
def test_a_message_that_comes_after_the_end_is_taken_back_and_refused(talk: Talk, say: Any) -> None:
    talk.new_prompt()
    (command,) = talk.tell(say(7, "more"))
    assert talk.pi(RUN_STARTS, answered("stop"), RUN_ENDS_FOR_GOOD, SETTLED)[-1:] == ends("stop")
    assert talk.pi(queue("more")) == []
    assert talk.answer(command, {"disposition": "queued"}) == []
    (clear,) = talk.asks()
    assert clear["type"] == "clear_queue"
    assert talk.answer(clear, held("more")) == [agent.Answered(7, False, error=TOO_LATE)]


def test_several_late_messages_are_taken_back_together(talk: Talk) -> None:
    talk.new_prompt()
    commands = talk.tell(agent.Steer(7, "one"), agent.Steer(8, "two"))
    talk.pi(RUN_STARTS, answered("stop"), RUN_ENDS_FOR_GOOD, SETTLED)
    asked = []
    for command in commands:
        assert talk.answer(command) == []
        asked += talk.asks()
    said = [
        one for clear, data in zip(asked, [held("one", "two"), held()], strict=True) for one in talk.answer(clear, data)
    ]
    assert said == [agent.Answered(7, False, error=TOO_LATE), agent.Answered(8, False, error=TOO_LATE)]


def test_a_late_message_that_was_heard_all_the_same_is_not_refused(talk: Talk) -> None:
    """The next prompt may have been on its way."""
    over(talk)
    (command,) = talk.tell(agent.Steer(7, "more"))
    talk.answer(command)
    (clear,) = talk.asks()
    assert talk.answer(clear, held()) == [agent.Answered(7, True)]


def test_a_pi_that_cannot_take_a_message_back_keeps_it_for_the_next_prompt(talk: Talk) -> None:
    over(talk)
    (command,) = talk.tell(agent.Steer(7, "more"))
    talk.answer(command)
    assert [command["type"] for command in talk.asks()] == ["clear_queue"]
    refusal = {"type": "response", "command": "clear_queue", "success": False, "error": "Unknown command: clear_queue"}
    assert talk.pi(refusal) == [agent.Answered(7, True)]


def test_what_was_queued_for_an_aborted_turn_goes_with_it(talk: Talk) -> None:
    talk.new_prompt()
    (command,) = talk.tell(agent.FollowUp(7, "more"))
    talk.pi(RUN_STARTS, queue(follow_up=("more",)))
    assert talk.answer(command) == [agent.Answered(7, True)]
    talk.tell(agent.Abort())
    assert talk.pi(answered("aborted"), RUN_ENDS_FOR_GOOD, SETTLED_BY_ABORT)[-1:] == ends("aborted")
    (clear,) = talk.asks()
    assert clear["type"] == "clear_queue"
    assert talk.answer(clear, held()) == []


def test_an_old_pi_is_asked_to_take_back_what_is_left_of_an_aborted_turn(talk: Talk) -> None:
    talk.old_prompt()
    talk.pi(queue("more"))
    (abort,) = talk.tell(agent.Abort())
    talk.pi(answered("aborted"), RUN_ENDS)
    talk.answer(abort)
    question, _ = talk.asks()
    assert talk.state(question, isStreaming=False, pendingMessageCount=1) == ends("aborted")
    assert [command["type"] for command in talk.asks()] == ["clear_queue"]


@pytest.mark.parametrize("lists", [{}, {"steering": None, "followUp": None}])
def test_a_queue_that_says_nothing_is_empty(talk: Talk, lists: Value) -> None:
    talk.new_prompt()
    talk.pi(RUN_STARTS, {"type": "queue_update", **lists}, answered("stop"), RUN_ENDS_FOR_GOOD, SETTLED)
    assert talk.asks() == []
