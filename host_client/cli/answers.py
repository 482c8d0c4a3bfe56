"""`taskctl answer`: what agents wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from host_client.cli.commands import guest_command
from host_client.cli.completion import QUESTION
from host_client.cli.session import REFUSED, Guest, usage

if TYPE_CHECKING:
    from host_client.client import Client
    from taskd.model.calls import QuestionView

EXAMPLES = """\
  taskctl answer                      the open questions of all tasks
  taskctl answer 5eb8                 ask me; the beginning of its id will do
  taskctl answer 5eb8 --value red     an option, or a text
  taskctl answer 5eb8 --yes           or --no
  taskctl answer --value red          the only open question there is
"""


@guest_command(examples=EXAMPLES)
@click.argument("request_id", required=False, type=QUESTION)
@click.option("--value", metavar="TEXT", help="The chosen option, or the text.")
@click.option("--yes/--no", "confirmed", default=None, help="For a question that wants to be confirmed.")
@click.option("--cancel", "cancelled", is_flag=True, help="Refuse to answer; the agent goes on without.")
async def answer(
    guest: Guest, request_id: str | None, value: str | None, confirmed: bool | None, cancelled: bool
) -> int:
    """List agents' questions, or answer one.

    Answering needs no driver lease: whoever sees a question first may unblock the agent.
    """
    given = (value is not None) + (confirmed is not None) + cancelled
    if given > 1:
        usage("give one of --value, --yes, --no and --cancel")
    async with guest.connect() as client:
        questions = [question for task in (await client.get_state()).tasks for question in task.questions]
        if request_id is None and not given:
            return _list(guest, questions)
        question = _pick(questions, request_id)
        if not given:
            return await _ask(client, question)
        result = await client.answer(question.request_id, value=value, confirmed=confirmed, cancelled=cancelled)
    from host_client.cli.screen import out

    guest.tell(result, lambda: out().line(f"answered {result.request_id} of {result.task_id}"))
    return 0


def _list(guest: Guest, questions: list[QuestionView]) -> int:
    from host_client.cli.screen import out
    from host_client.cli.table import Cell, Column, show_table
    from host_client.cli.views import question_line

    def people() -> None:
        if not questions:
            out().line("no agent asks anything")
            return
        rows = [(one.request_id, one.task_id, Cell(question_line(one), "bold magenta")) for one in questions]
        show_table(out(), (Column("id"), Column("task", least=12), Column("question", least=12)), rows)

    guest.tell(questions, people)
    return 0


def _pick(questions: list[QuestionView], request_id: str | None) -> QuestionView:
    """Find the question that is meant.

    Raises:
        GuestError: `QUESTION_NOT_FOUND`, as the guest would say it, or several fit.
    """
    from host_client.errors import GuestError

    fitting = [one for one in questions if one.request_id.startswith(request_id or "")]
    exact = [one for one in fitting if one.request_id == request_id]
    if len(exact or fitting) == 1:
        return (exact or fitting)[0]
    name = "" if request_id is None else f" {request_id!r}"
    said = f"{len(fitting)} open questions fit{name}; give more of the id" if fitting else f"no open question{name}"
    raise GuestError("QUESTION_NOT_FOUND", said)


async def _ask(client: Client, question: QuestionView) -> int:
    from host_client.cli.dialogue import ask, give, has_person

    if not has_person():
        usage("nobody to ask at a terminal; give --value, --yes, --no or --cancel")
    said = await ask(question)
    return 0 if said is not None and await give(client, question, said) else REFUSED
