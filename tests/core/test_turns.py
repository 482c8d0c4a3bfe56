import msgspec
import pytest

from taskd.core.effects import Save
from taskd.core.stimuli import SaveFailed
from taskd.model import agent, calls
from taskd.model.agent import Abilities, Block, Usage
from taskd.model.errors import Code, TaskdError
from taskd.model.ids import TaskId
from taskd.model.limits import Limits
from tests.kit.playbook import Playbook


@pytest.fixture
def play():
    play = Playbook()
    play.activate("a")
    return play


def test_a_prompt_is_accepted_told_and_handed_over_in_that_order(play):
    play.prompt()

    assert play.said() == ["reply PromptResult", "turn_started a", "tell a Prompt"]


def test_the_end_of_a_turn_is_told_only_when_it_is_on_disk(play):
    play.prompt()
    play.says("a", agent.TextDelta("hi"), agent.TurnEnded("stop"))

    assert play.said() == ["agent_output a", "save a turn 1"]
    assert play.saves("a").said() == ["agent_end a"]


def test_a_prompt_is_refused_while_a_turn_runs_or_is_saved(play):
    play.prompt()
    assert play.answer(play.prompt()) == "TASK_NOT_READY"
    play.says("a", agent.TurnEnded("stop"))
    assert play.answer(play.prompt()) == "TASK_NOT_READY"
    play.saves("a")
    assert play.answer(play.prompt()).accepted


def test_a_prompt_without_an_active_task_is_refused():
    assert Playbook().answer(Playbook().prompt()) == "nothing"
    play = Playbook()
    assert play.answer(play.prompt()) == "TASK_NOT_READY"


def test_a_prompt_for_a_task_that_is_not_active_is_refused(play):
    play.open("b")

    assert play.answer(play.prompt(task_id="b")) == "TASK_NOT_READY"


def test_a_prompt_that_the_agent_refuses_ends_its_turn_with_the_agents_words(play):
    play.prompt()
    turn = play.task("a").turn
    play.says("a", agent.Answered(turn.tag, ok=False, error="No API key"))

    assert play.said() == ["save a turn 1"]
    assert play.wanted(Save)[0].turn.error == "No API key"
    play.saves("a")
    assert play.said() == ["agent_end a"]


def test_an_agent_that_dies_in_a_turn_ends_it_with_one_error_and_nothing_after(play):
    play.prompt()
    play.dies("a", code=None, signal=9)

    assert play.said() == ["task_error a"]
    assert play.says("a", agent.TextDelta("late"), agent.TurnEnded("stop")).said() == []
    assert play.state("a") == "errored"
    assert play.machine.world.active is None


def test_an_agent_that_dies_while_its_turn_is_saved_still_ends_the_turn_well(play):
    play.prompt()
    play.says("a", agent.TurnEnded("stop"))
    assert play.dies("a").said() == []

    assert play.saves("a").said() == ["agent_end a", "task_error a"]
    assert play.state("a") == "errored"


def test_a_turn_that_cannot_be_saved_is_an_error_and_never_an_end(play):
    play.prompt()
    play.says("a", agent.TurnEnded("stop"))
    turn_id = play.task("a").turn.turn_id
    _ = play >> SaveFailed(TaskId("a"), turn_id, TaskdError(Code.SESSION_SAVE_FAILED, "disk full"))

    assert play.said() == ["task_error a", "stop child a #1"]


def test_abort_is_answered_and_ends_the_turn_as_aborted(play):
    play.prompt()
    play.ask(calls.Abort())

    assert play.said() == ["reply AbortResult", "tell a Abort"]
    play.says("a", agent.TurnEnded("aborted"))
    assert play.wanted(Save)[0].turn.stop_reason == "aborted"


def test_abort_of_nothing_is_no_error(play):
    assert play.answer(play.ask(calls.Abort())).aborting is False


def test_an_agent_that_ignores_abort_is_stopped_and_its_turn_ends(play):
    play.prompt()
    play.ask(calls.Abort())
    assert play.fires("abort", "a").said() == ["stop child a #1"]

    assert play.dies("a", code=None, signal=15).said() == ["task_error a"]


def test_an_abort_timer_of_an_earlier_turn_means_nothing(play):
    play.prompt()
    play.says("a", agent.TurnEnded("stop")).saves("a")

    assert play.fires("abort", "a").said() == []


def test_steer_is_answered_by_the_agents_answer(play):
    play.prompt()
    call = play.ask(calls.Steer(message="left"))
    assert play.said() == ["tell a Steer"]
    tag = next(tag for tag, command in play.task("a").commands.items() if command.kind == "say")
    play.says("a", agent.Answered(tag, ok=True))

    assert play.answer(call).queued


def test_steer_without_a_turn_is_refused(play):
    assert play.answer(play.ask(calls.Steer(message="x"))) == "TASK_NOT_READY"


def test_what_an_agent_cannot_do_is_refused_before_anything_is_sent():
    play = Playbook()
    play.open("a", abilities=Abilities())
    play.ask(calls.SwitchTask(task_id="a"))
    assert play.answer(play.prompt(images=(agent.Image("eA=="),))) == "UNSUPPORTED"
    assert play.answer(play.ask(calls.SetModel(provider="p", model="m"))) == "UNSUPPORTED"
    play.prompt()

    assert play.answer(play.ask(calls.Steer(message="x"))) == "UNSUPPORTED"


def test_usage_is_told_for_each_message_and_summed_for_the_turn(play):
    play.prompt()
    message = agent.MessageEnded("assistant", (Block("text", "x"),), Usage(input=1, output=2, total_tokens=3))
    play.says("a", message, message, agent.TurnEnded("stop"))

    assert play.said() == ["usage a", "usage a", "save a turn 1"]
    assert play.wanted(Save)[0].turn.usage == Usage(input=2, output=4, total_tokens=6)
    assert len(play.wanted(Save)[0].turn.messages) == 2


def test_tool_events_carry_their_turn(play):
    play.prompt()
    play.says(
        "a",
        agent.ToolStarted("c1", "bash", msgspec.Raw(b'{"command":"ls"}')),
        agent.ToolOutput("c1", "x"),
        agent.ToolEnded("c1", "bash", is_error=False),
    )

    assert play.said() == ["tool_started a", "tool_output a", "tool_ended a"]
    assert {effect.event.turn_id for effect in play.effects} == {play.task("a").turn.turn_id}


def test_the_same_prompt_id_starts_one_turn(play):
    first = play.prompt("hello", prompt_id="p1")
    play.says("a", agent.TurnEnded("stop")).saves("a")
    again = play.prompt("hello", prompt_id="p1")

    assert play.said() == ["reply PromptResult"]
    assert play.answer(again) == play.answer(first)


def test_the_same_prompt_id_with_other_words_is_refused(play):
    play.prompt("hello", prompt_id="p1")

    assert play.answer(play.prompt("other", prompt_id="p1")) == "INVALID_REQUEST"


def test_a_turn_keeps_no_more_text_than_its_bound():
    play = Playbook(Limits(turn_bytes=10_000))
    play.activate("a")
    play.prompt()
    big = agent.MessageEnded("assistant", (Block("text", "x" * 9_000),))
    play.says("a", big, big, agent.TurnEnded("stop"))

    blocks = [message.content[0] for message in play.wanted(Save)[0].turn.messages]
    assert [len(block.text) for block in blocks] == [9_000, 1024]
    assert [block.truncated for block in blocks] == [False, True]
