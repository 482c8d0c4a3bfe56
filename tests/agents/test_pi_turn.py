"""When a turn of pi is over, for each age of pi."""

from typing import Any

import pytest

from taskd.model import agent
from tests.agents.pi_talk import (
    COMPACTION_STARTS,
    RETRY_CANCELLED,
    RETRY_GIVEN_UP,
    RETRY_STARTS,
    RETRY_SUCCEEDED,
    RUN_ENDS,
    RUN_ENDS_FOR_GOOD,
    RUN_STARTS,
    RUN_WILL_BE_RETRIED,
    SETTLED,
    SETTLED_BY_ABORT,
    Talk,
    answered,
    compaction_ends,
    ends,
    failed,
    of_kind,
)


@pytest.fixture
def talk() -> Talk:
    return Talk()


def turn_ends(said: list[agent.Said]) -> list[agent.Said]:
    return of_kind(said, agent.TurnEnded)


# Since 0.80.4: agent_settled ----------------------------------------------------------------------------------------


def test_agent_settled_ends_the_turn_and_nothing_before_it_does(talk: Talk) -> None:
    talk.new_prompt()
    assert turn_ends(talk.pi(RUN_STARTS, answered("stop"), RUN_ENDS_FOR_GOOD)) == []
    assert talk.asks() == []
    assert talk.pi(SETTLED) == ends("stop")


def test_a_turn_of_several_runs_ends_once(talk: Talk) -> None:
    talk.new_prompt()
    said = talk.pi(
        RUN_STARTS, failed(), RUN_WILL_BE_RETRIED, RETRY_STARTS, RUN_STARTS, RETRY_SUCCEEDED, answered("stop"), RUN_ENDS
    )
    assert turn_ends(said) == []
    assert turn_ends(talk.pi(RUN_STARTS, answered("length"), RUN_ENDS_FOR_GOOD, SETTLED)) == ends("length")
    assert talk.asks() == []


def test_a_failed_turn_ends_with_the_words_of_its_last_message(talk: Talk) -> None:
    talk.new_prompt()
    said = talk.pi(RUN_STARTS, failed("400 no such thing"), RUN_ENDS_FOR_GOOD, SETTLED)
    assert turn_ends(said) == ends("error", "400 no such thing")


def test_a_settled_abort_is_an_abort_whatever_the_last_message_says(talk: Talk) -> None:
    talk.new_prompt()
    talk.pi(RUN_STARTS, answered("toolUse"))
    talk.tell(agent.Abort())
    assert talk.pi(RUN_ENDS_FOR_GOOD, SETTLED_BY_ABORT) == ends("aborted")


def test_an_abort_that_came_too_late_does_not_change_how_the_turn_went(talk: Talk) -> None:
    talk.new_prompt()
    talk.pi(RUN_STARTS, answered("stop"))
    talk.tell(agent.Abort())
    assert talk.pi(RUN_ENDS_FOR_GOOD, SETTLED) == ends("stop")


def test_a_settled_that_belongs_to_no_turn_is_nobodys(talk: Talk) -> None:
    assert talk.pi(RUN_STARTS, RUN_ENDS_FOR_GOOD, SETTLED) == []
    talk.new_prompt()
    assert talk.pi(RUN_STARTS, SETTLED) == ends("stop")
    assert talk.pi(SETTLED) == []


def test_a_prompt_that_is_settled_without_a_run_is_over(talk: Talk) -> None:
    talk.new_prompt()
    assert talk.pi(SETTLED_BY_ABORT) == ends("aborted")


def test_a_turn_may_end_before_its_prompt_is_answered(talk: Talk) -> None:
    (command,) = talk.tell(agent.Prompt(1, "do it"))
    assert turn_ends(talk.pi(RUN_STARTS, answered("stop"), RUN_ENDS_FOR_GOOD, SETTLED)) == ends("stop")
    assert talk.answer(command, {"disposition": "started"}) == [agent.Answered(1, True)]
    assert talk.asks() == []


# Prompts that start no run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [{"disposition": "handled"}, None])
def test_a_prompt_that_was_handled_ends_when_nothing_runs(talk: Talk, data: Any) -> None:
    talk.prompt("/ask", data)
    (question,) = talk.asks()
    assert talk.state(question) == ends("stop")


@pytest.mark.parametrize("data", [{"disposition": "handled"}, None])
def test_a_command_that_starts_a_run_ends_with_it(talk: Talk, data: Any) -> None:
    talk.prompt("/review", data)
    (question,) = talk.asks()
    assert talk.state(question, isStreaming=True) == []
    assert turn_ends(talk.pi(RUN_STARTS, answered("stop"), RUN_ENDS_FOR_GOOD)) == []
    assert talk.pi(SETTLED) == ends("stop")


def test_a_command_that_compacts_ends_after_it(talk: Talk) -> None:
    talk.prompt("/compact")
    (question,) = talk.asks()
    talk.pi(COMPACTION_STARTS)
    assert talk.state(question, isCompacting=True) == []
    talk.pi(compaction_ends())
    (question,) = talk.asks()
    assert talk.state(question) == ends("stop")


def test_a_refused_prompt_is_no_turn(talk: Talk) -> None:
    (command,) = talk.tell(agent.Prompt(1, "do it"))
    assert talk.answer(command, error="No API key") == [agent.Answered(1, False, error="No API key")]
    assert talk.asks() == []
    talk.new_prompt()


def test_a_prompt_during_a_turn_is_refused_and_the_turn_goes_on(talk: Talk) -> None:
    talk.new_prompt()
    talk.pi(RUN_STARTS)
    (command,) = talk.tell(agent.Prompt(2, "and that"))
    assert talk.answer(command, error="busy") == [agent.Answered(2, False, error="busy")]
    assert turn_ends(talk.pi(answered("stop"), RUN_ENDS_FOR_GOOD, SETTLED)) == ends("stop")


# Before: agent_end, and what follows in the same breath ---------------------------------------------------------------


def test_an_old_pi_is_asked_before_its_end_is_believed(talk: Talk) -> None:
    talk.old_prompt()
    assert turn_ends(talk.pi(answered("stop"), RUN_ENDS)) == []
    (question,) = talk.asks()
    assert talk.state(question) == ends("stop")


def test_an_announced_retry_is_no_end(talk: Talk) -> None:
    talk.old_prompt()
    talk.pi(failed(), RUN_ENDS)
    (question,) = talk.asks()
    assert talk.pi(RETRY_STARTS) == []
    assert talk.state(question) == []
    assert turn_ends(talk.pi(RUN_STARTS, RETRY_SUCCEEDED, answered("stop"), RUN_ENDS)) == []
    (question,) = talk.asks()
    assert talk.state(question) == ends("stop")


def test_a_retry_in_the_same_piece_is_not_asked_about(talk: Talk) -> None:
    talk.old_prompt()
    talk.pi(failed(), RUN_ENDS, RETRY_STARTS)
    assert talk.asks() == []


def test_a_retry_that_was_given_up_ends_the_turn(talk: Talk) -> None:
    talk.old_prompt()
    talk.pi(failed(), RUN_ENDS, RETRY_STARTS)
    assert turn_ends(talk.pi(RUN_STARTS, failed("503 again"), RUN_ENDS, RETRY_GIVEN_UP)) == []
    (question,) = talk.asks()
    assert talk.state(question) == ends("error", "503 again")


def test_an_abort_in_the_pause_before_a_retry_ends_the_turn(talk: Talk) -> None:
    talk.old_prompt()
    talk.pi(failed(), RUN_ENDS, RETRY_STARTS)
    (abort,) = talk.tell(agent.Abort())
    assert talk.answer(abort) == []
    (question,) = talk.asks()
    talk.pi(RETRY_CANCELLED)
    assert talk.state(question) == ends("aborted")
    for question in talk.asks():
        assert talk.state(question) == []


def test_a_retry_that_an_extension_cancels_ends_the_turn_as_failed(talk: Talk) -> None:
    talk.old_prompt()
    talk.pi(failed("503"), RUN_ENDS, RETRY_STARTS, RETRY_CANCELLED)
    (question,) = talk.asks()
    assert talk.state(question) == ends("error", "503")


def test_a_compaction_holds_the_end_back(talk: Talk) -> None:
    talk.old_prompt()
    talk.pi(answered("stop"), RUN_ENDS, COMPACTION_STARTS)
    (question,) = talk.asks()
    assert talk.state(question, isCompacting=True) == []
    assert talk.pi(compaction_ends()) == []
    (question,) = talk.asks()
    assert talk.state(question) == ends("stop")


def test_an_overflow_that_is_compacted_goes_on(talk: Talk) -> None:
    talk.old_prompt()
    talk.pi(failed("too long"), RUN_ENDS, COMPACTION_STARTS, compaction_ends(will_retry=True))
    (question,) = talk.asks()
    assert talk.state(question) == []
    talk.pi(RUN_STARTS, answered("stop"), RUN_ENDS)
    (question,) = talk.asks()
    assert talk.state(question) == ends("stop")


def test_messages_that_wait_for_a_compaction_start_another_run(talk: Talk) -> None:
    talk.old_prompt()
    talk.pi(answered("stop"), RUN_ENDS, COMPACTION_STARTS, compaction_ends())
    (question,) = talk.asks()
    assert talk.state(question, pendingMessageCount=1) == []
    talk.pi(RUN_STARTS, answered("length"), RUN_ENDS)
    (question,) = talk.asks()
    assert talk.state(question) == ends("length")


@pytest.mark.parametrize("compaction", [[], [COMPACTION_STARTS, compaction_ends(done=False)]])
def test_messages_that_nothing_will_deliver_do_not_hold_the_end_back(talk: Talk, compaction: list[Any]) -> None:
    talk.old_prompt()
    talk.pi(answered("aborted"), RUN_ENDS, *compaction)
    (question,) = talk.asks()
    assert talk.state(question, pendingMessageCount=2) == ends("aborted")


def test_a_late_answer_of_an_earlier_turn_does_not_end_the_next(talk: Talk) -> None:
    talk.old_prompt()
    talk.pi(answered("stop"), RUN_ENDS)
    (first,) = talk.asks()
    talk.pi(COMPACTION_STARTS, compaction_ends())
    (second,) = talk.asks()
    assert talk.state(first) == ends("stop")
    talk.prompt()
    assert talk.state(second) == []


def test_an_unreadable_end_of_a_run_is_asked_about(talk: Talk) -> None:
    talk.old_prompt()
    said = talk.codec.feed(b'{"type":"agent_end","mess\n')
    assert of_kind(said, agent.Noise)
    (question,) = talk.asks()
    assert talk.state(question) == ends("stop")


def test_noise_in_the_middle_of_a_run_is_no_end(talk: Talk) -> None:
    talk.old_prompt()
    talk.codec.feed(b"Warning: something\n")
    (question,) = talk.asks()
    assert talk.state(question, isStreaming=True) == []
    talk.pi(answered("stop"), RUN_ENDS)
    (question,) = talk.asks()
    assert talk.state(question) == ends("stop")


# Between: willRetry (0.75.4) without agent_settled, agent_settled without a disposition (0.80.4) ----------------------


def test_a_run_that_says_it_will_be_retried_is_not_asked_about(talk: Talk) -> None:
    talk.old_prompt()
    talk.pi(failed(), RUN_WILL_BE_RETRIED)
    assert talk.asks() == []
    talk.pi(RETRY_STARTS, RUN_STARTS, answered("stop"), RUN_ENDS_FOR_GOOD)
    (question,) = talk.asks()
    assert talk.state(question) == ends("stop")


def test_the_first_settled_is_learnt(talk: Talk) -> None:
    talk.old_prompt()
    talk.pi(answered("stop"), RUN_ENDS_FOR_GOOD)
    (question,) = talk.asks()
    assert talk.pi({"type": "agent_settled"}) == ends("stop")
    assert talk.state(question) == []
    talk.prompt()
    talk.state(*talk.asks(), isStreaming=True)
    talk.pi(RUN_STARTS, answered("stop"), RUN_ENDS_FOR_GOOD)
    assert talk.asks() == []
    assert talk.pi({"type": "agent_settled"}) == ends("stop")


def test_a_settled_without_a_word_on_abort_is_judged_by_the_last_message(talk: Talk) -> None:
    talk.new_prompt()
    talk.pi(RUN_STARTS, answered("aborted"), RUN_ENDS_FOR_GOOD)
    assert talk.pi({"type": "agent_settled"}) == ends("aborted")


# Abort --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [{"disposition": "started"}, None])
def test_an_abort_that_pi_answered_before_it_took_the_prompt_is_repeated(talk: Talk, data: Any) -> None:
    prompt, abort = talk.tell(agent.Prompt(1, "do it"), agent.Abort())
    talk.answer(abort)
    for question in talk.asks():
        assert talk.state(question) == []
    talk.answer(prompt, data)
    assert "abort" in [command["type"] for command in talk.asks()]


def test_an_abort_that_pi_heard_is_not_repeated(talk: Talk) -> None:
    talk.new_prompt()
    talk.pi(RUN_STARTS)
    (abort,) = talk.tell(agent.Abort())
    assert abort["type"] == "abort"
    talk.pi(answered("aborted"), RUN_ENDS_FOR_GOOD, SETTLED_BY_ABORT)
    talk.answer(abort)
    assert talk.asks() == []


def test_an_abort_without_a_turn_is_passed_on_and_forgotten(talk: Talk) -> None:
    (abort,) = talk.tell(agent.Abort())
    assert talk.answer(abort) == []
    talk.new_prompt()
    talk.pi(RUN_STARTS)
    assert talk.asks() == []


def test_an_idle_pi_ends_an_aborted_turn_whatever_was_announced(talk: Talk) -> None:
    talk.old_prompt()
    talk.pi(failed(), RUN_ENDS, COMPACTION_STARTS, compaction_ends(will_retry=True))
    for question in talk.asks():
        assert talk.state(question) == []
    (abort,) = talk.tell(agent.Abort())
    talk.answer(abort)
    (question,) = talk.asks()
    assert talk.state(question) == ends("aborted")
