"""What the agents of the demo are asked: shell commands, or sentences for an agent with a model."""

from typing import NamedTuple


class Script(NamedTuple):
    """The prompts of the demo. Each has the task's name put in for `{task}`."""

    about: str
    first: str
    long: str
    """Says something soon, and goes on for longer than the demo needs."""
    again: str
    """Its answer shows that what came before is still known."""


SHELL = Script(
    about="the built-in agent: a prompt is a shell command",
    first='echo "I am {task}" > me; cat me',
    long='echo "working on it"; sleep 60',
    again="cat me",
)

MODEL = Script(
    about="the agent {agent}: a prompt is for its model",
    first="Remember this word: {task}. Answer with the word alone.",
    long="Count from 1 to 300, one number on each line, and nothing else.",
    again="Which word did I ask you to remember? Answer with the word alone.",
)
