import pytest

from taskd.core.effects import Save
from taskd.model import agent, calls
from taskd.model.agent import Model
from taskd.model.limits import Limits
from tests.kit.playbook import Playbook

SELECT = agent.Asked("q1", "select", "Pick", options=("red", "green"))
CONFIRM = agent.Asked("q1", "confirm", "Sure?", "really")


@pytest.fixture
def play():
    play = Playbook()
    play.activate("a")
    return play


def tag_of(play, kind):
    return next(tag for tag, command in play.task("a").commands.items() if command.kind == kind)


def test_a_model_is_set_when_the_agent_says_so(play):
    call = play.ask(calls.SetModel(provider="p", model="m"))
    play.says("a", agent.Answered(tag_of(play, "set_model"), ok=True, value=Model("p", "m", "Em")))

    assert play.answer(call) == calls.SetModelResult(id="m", name="Em", provider="p", task_id="a")
    assert play.said() == ["reply SetModelResult", "model_changed a"]
    assert play.task("a").record.model == "m"


def test_a_model_that_the_agent_refuses_is_refused_to_the_host(play):
    call = play.ask(calls.SetModel(provider="p", model="m"))
    play.says("a", agent.Answered(tag_of(play, "set_model"), ok=False, error="Model not found: p/m"))

    assert play.answer(call) == "AGENT_REFUSED"
    assert "Model not found" in play.answers[call].message
    assert play.task("a").record.model is None


def test_an_agent_that_does_not_answer_a_command_keeps_its_task(play):
    call = play.ask(calls.ListModels())
    play.fires("answer", "a", str(tag_of(play, "list_models")))

    assert play.answer(call) == "AGENT_TIMEOUT"
    assert play.state("a") == "active"


def test_a_late_answer_to_a_command_is_dropped(play):
    play.ask(calls.ListModels())
    tag = tag_of(play, "list_models")
    play.fires("answer", "a", str(tag))

    assert play.says("a", agent.Answered(tag, ok=True, value=[])).said() == []


def test_an_agents_death_refuses_what_waits_for_it(play):
    call = play.ask(calls.ListModels())
    play.dies("a")

    assert play.answer(call) == "PI_PROCESS_DEAD"


def test_a_question_is_told_whether_its_task_is_active_or_not(play):
    play.activate("b")
    play.says("a", SELECT)

    assert play.said() == ["agent_question a"]
    assert play.task("a").questions.keys() == {"q1"}


def test_a_question_of_a_background_task_can_be_answered(play):
    play.activate("b")
    play.says("a", SELECT)
    play.ask(calls.Answer(request_id="q1", value="red"))

    assert play.said() == ["reply AnswerResult", "tell a AnswerQuestion", "agent_question_closed a"]


def test_an_observer_may_answer_a_question(play):
    play.says("a", CONFIRM)

    assert play.answer(play.ask(calls.Answer(request_id="q1", confirmed=True), channel=2)).answered


def test_a_question_is_answered_once(play):
    play.says("a", CONFIRM)
    play.ask(calls.Answer(request_id="q1", confirmed=True))

    assert play.answer(play.ask(calls.Answer(request_id="q1", confirmed=False))) == "QUESTION_NOT_FOUND"


@pytest.mark.parametrize(
    ("question", "wrong"),
    [(SELECT, {"value": "blue"}), (SELECT, {"confirmed": True}), (CONFIRM, {"value": "x"}), (CONFIRM, {})],
)
def test_an_answer_that_does_not_fit_the_question_leaves_it_open(play, question, wrong):
    play.says("a", question)

    assert play.answer(play.ask(calls.Answer(request_id="q1", **wrong))) == "INVALID_PARAMS"
    assert "q1" in play.task("a").questions


def test_any_question_can_be_cancelled(play):
    play.says("a", SELECT)
    play.ask(calls.Answer(request_id="q1", cancelled=True))

    assert play.effects[-1].event.outcome == "cancelled"


def test_questions_close_with_their_turn(play):
    play.prompt()
    play.says("a", SELECT, agent.TurnEnded("aborted"))

    assert "agent_question_closed a" in play.said()
    assert play.task("a").questions == {}


def test_a_question_that_the_agent_gives_up_is_closed(play):
    play.says("a", agent.Asked("q1", "confirm", "Sure?", timeout_ms=500))

    assert play.fires("question", "a", "q1").said() == ["agent_question_closed a"]
    assert play.answer(play.ask(calls.Answer(request_id="q1", confirmed=True))) == "QUESTION_NOT_FOUND"


def test_more_questions_than_the_limit_are_cancelled_in_the_hosts_name():
    play = Playbook(Limits(questions_per_task=1))
    play.activate("a")
    play.says("a", SELECT)
    play.says("a", agent.Asked("q2", "confirm", "Again?"))

    assert play.said() == ["tell a AnswerQuestion"]


def test_an_abort_cancels_open_questions_first_since_a_blocked_agent_hears_nothing(play):
    play.prompt()
    play.says("a", SELECT)
    play.ask(calls.Abort())

    assert play.said() == ["reply AbortResult", "tell a AnswerQuestion", "agent_question_closed a", "tell a Abort"]


def test_a_turn_that_ends_while_it_is_aborted_ends_as_aborted(play):
    play.prompt()
    play.says("a", SELECT)
    play.ask(calls.Abort())
    play.says("a", agent.TurnEnded("stop"))

    assert play.wanted(Save)[0].turn.stop_reason == "aborted"
