"""The handshake with pi, written as the conversation that it is.

pi answers get_state when it can take commands. Its model is pi's own choice or the session's; when the task wants
another, it is set, and pi's word is checked: a model that pi does not know, or has no key for, must fail the start and
not the first prompt. A thinking level is clamped silently to what the model can do, so the state is read once more.

It must not know ids, bytes or what else pi says meanwhile. Rule: one command at a time, since pi answers in any order.
"""

from collections.abc import Generator
from typing import Final

from taskd.agents.base import Opening
from taskd.agents.pi_commands import Fields
from taskd.agents.pi_lines import data_of
from taskd.agents.pi_messages import model_of, words
from taskd.agents.pi_wire import Response, State
from taskd.model.agent import Abilities, Model, Ready, Refused

ABILITIES: Final = Abilities(resume=True, images=True, steer=True, models=True, questions=True)

Greeting = Generator[Fields, Response, Ready | Refused]

_GET_STATE: Final[Fields] = {"type": "get_state"}


def greet(opening: Opening) -> Greeting:
    """Yield the commands of the handshake, take their answers, and return how it ended."""
    answer = yield _GET_STATE
    state = data_of(answer.data, State)
    if not answer.success or state is None:
        return _refused(answer)
    changes = _changes(opening, state)
    for change in changes:
        answer = yield change
        if not answer.success:
            return _refused(answer)
    if changes:
        answer = yield _GET_STATE
        state = data_of(answer.data, State)
        if not answer.success or state is None:
            return _refused(answer)
    return Ready(ABILITIES, model_of(state.model), state.thinking_level, state.session_file)


def _changes(opening: Opening, state: State) -> list[Fields]:
    changes: list[Fields] = []
    now = model_of(state.model)
    if opening.model and not _is(now, opening):
        provider = opening.provider or (now.provider if now else "")
        changes.append({"type": "set_model", "provider": provider, "modelId": opening.model})
    # A new model may bring another level with it, so a wanted level is set again after it.
    if opening.thinking_level and (changes or opening.thinking_level != state.thinking_level):
        changes.append({"type": "set_thinking_level", "level": opening.thinking_level})
    return changes


def _is(now: Model | None, opening: Opening) -> bool:
    return now is not None and now.id == opening.model and opening.provider in (None, now.provider)


def _refused(answer: Response) -> Refused:
    return Refused(words(answer.error) or f"pi gave no usable answer to {answer.command}")
