import pytest

from taskd.core.lifecycle import CALLS, IGNORED, LIFECYCLE, Trigger, allowed
from taskd.model.errors import Code
from taskd.model.states import TaskState


def test_the_table_is_total():
    assert set(LIFECYCLE) == {(state, trigger) for state in TaskState for trigger in Trigger}


@pytest.mark.parametrize("state", TaskState)
@pytest.mark.parametrize("call", CALLS)
def test_a_call_is_taken_or_refused_but_never_ignored(state, call):
    assert LIFECYCLE[state, call] is not IGNORED


@pytest.mark.parametrize("state", TaskState)
@pytest.mark.parametrize("fact", [trigger for trigger in Trigger if trigger not in CALLS])
def test_a_fact_is_never_refused(state, fact):
    assert not isinstance(LIFECYCLE[state, fact], Code)


@pytest.mark.parametrize(
    ("call", "states"),
    [
        (Trigger.OPEN, {"missing", "stopped", "errored"}),
        (Trigger.SWITCH, {"ready", "active", "idle"}),
        (Trigger.PROMPT, {"active"}),
        (Trigger.STOP, {"ready", "active", "idle", "errored", "stopped"}),
    ],
)
def test_calls_are_taken_in_the_states_that_the_contract_names(call, states):
    assert {state.value for state in TaskState if isinstance(LIFECYCLE[state, call], TaskState)} == states


def test_only_a_missing_task_is_not_found():
    found = {state for (state, _), entry in LIFECYCLE.items() if entry is Code.TASK_NOT_FOUND}

    assert found == {TaskState.MISSING}


def test_the_allowed_calls_of_a_state_can_be_named_for_people():
    assert allowed(TaskState.STOPPED) == ["create_or_open_task", "stop_task"]
