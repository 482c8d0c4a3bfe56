"""What is told about tasks, sessions, models and questions, for people."""

from collections.abc import Iterator

import msgspec

from host_client.cli.escapes import one_line
from host_client.cli.screen import Screen
from host_client.cli.table import Cell, Column, show_table
from taskd.model.agent import Block, Usage
from taskd.model.calls import ModelsResult, QuestionView, StateResult, TaskView
from taskd.model.events import AgentQuestion
from taskd.model.records import Turn

STATE_STYLES = {
    "creating": "cyan",
    "ready": "cyan",
    "active": "bold green",
    "errored": "bold red",
    "stopped": "dim",
}
"""Colours of states; idle is plain."""

MAX_ARGS_SHOWN = 160
"""Characters of a tool's arguments that are shown."""

_INDENT = 12
"""Columns of the names of facts about a task, and the gap after them."""

_COLUMNS = (
    Column(""),
    Column("task", least=16),
    Column("state"),
    Column("agent", least=8),
    Column("turns", right=True),
    Column("model", least=16),
    Column("note", least=12),
)


def show_state(screen: Screen, state: StateResult) -> None:
    """Show all tasks, the active one marked."""
    if not state.tasks:
        screen.line("no tasks yet; `taskctl open TASK` makes one")
        return
    rows = [_row(task, active=task.task_id == state.active_task_id) for task in state.tasks]
    if show_table(screen, _COLUMNS, rows):
        screen.line("\n… is cut: `taskctl state TASK` tells all about one", "dim")


def show_task(screen: Screen, task: TaskView, *, active: bool) -> None:
    """Show all about one task."""
    for name, value, style in _facts(task, active=active):
        for number, line in enumerate(screen.wrap(value, _INDENT) if value else ()):
            screen.line(screen.paint(f"{'' if number else name:<{_INDENT}}", "dim") + screen.paint(line, style))


def show_models(screen: Screen, result: ModelsResult, current: TaskView | None = None) -> None:
    """Show what an agent can use, the model in use marked."""
    used = (current.provider, current.model) if current is not None else None
    rows = [
        (
            "→" if used == (model.provider, model.id) else "",
            one_line(f"{model.provider}/{model.id}"),
            one_line(model.name),
            f"{model.context_window:,}" if model.context_window else "",
        )
        for model in result.models
    ]
    if not rows:
        screen.line("the agent names no models")
        return
    show_table(screen, (Column(""), Column("model"), Column("name", least=12), Column("context", right=True)), rows)


def show_turn(screen: Screen, turn: Turn) -> None:
    """Show one completed turn of a session."""
    ended = f"{turn.ended_at[:10]} {turn.ended_at[11:19]} UTC"
    reason = "" if turn.stop_reason == "stop" else f" · {turn.stop_reason}"
    head = f"── turn {turn.number} · {ended}{reason}{usage_note(turn.usage)} "
    screen.line(head + "─" * max(0, min(screen.width or 80, 100) - len(head)), "dim")
    for message in turn.messages:
        for block in message.content:
            _show_block(screen, message.role, block)
    if turn.error:
        screen.line(one_line(turn.error), "red")


def usage_note(usage: Usage) -> str:
    """Say what turns cost, if they cost something."""
    if not usage.total_tokens:
        return ""
    return f" · {usage.total_tokens:,} tokens" + (f" · ${usage.cost:.4f}" if usage.cost else "")


def question_line(question: AgentQuestion | QuestionView) -> str:
    """Say a question in one line."""
    options = f" [{one_line(' | '.join(question.options))}]" if question.options else ""
    yes_or_no = " (yes or no)" if question.kind == "confirm" else ""
    return question_words(question) + options + yes_or_no


def question_words(question: AgentQuestion | QuestionView) -> str:
    """Give a question's words in one line; agents like to say the same in title and message."""
    title, message = one_line(question.title), one_line(question.message)
    return f"{title} {message}".strip() if message != title else title


def tool_line(tool: str, args: bytes) -> str:
    """Say a tool call in one line."""
    text = one_line(_only_text(args) or args.decode("utf-8", "replace"))
    return f"⚙ {one_line(tool)} {text if len(text) <= MAX_ARGS_SHOWN else text[:MAX_ARGS_SHOWN] + '…'}"


def _only_text(args: bytes) -> str | None:
    """Give the one argument of a tool that has but one, such as a command."""
    try:
        (value,) = msgspec.json.decode(args, type=dict[str, str]).values()
    except (msgspec.DecodeError, ValueError):
        return None
    return value


def _row(task: TaskView, *, active: bool) -> tuple[str | Cell, ...]:
    return (
        "→" if active else "",
        task.task_id,
        Cell(task.state, STATE_STYLES.get(task.state, "")),
        task.agent,
        str(task.turn_count),
        one_line(f"{task.provider}/{task.model}" if task.model else ""),
        _note(task),
    )


def _note(task: TaskView) -> Cell:
    if task.questions:
        return Cell(f"asks: {question_line(task.questions[0])}", "bold magenta")
    if task.prompt_in_flight:
        return Cell("working", "cyan")
    return Cell(one_line(task.last_error or ""), "red" if task.state == "errored" else "dim")


def _facts(task: TaskView, *, active: bool) -> Iterator[tuple[str, str, str]]:
    state = task.state if not task.prompt_in_flight else f"{task.state}, working on {task.turn_id}"
    yield "task", task.task_id + (" (the active one)" if active else ""), "bold"
    yield "state", state, STATE_STYLES.get(task.state, "")
    yield "agent", f"{task.agent}, incarnation {task.incarnation}", ""
    thinking = f", thinking {task.thinking_level}" if task.thinking_level not in (None, "off") else ""
    yield "model", one_line(f"{task.provider}/{task.model}{thinking}") if task.model else "", ""
    yield "turns", f"{task.turn_count}{usage_note(task.usage)}", ""
    yield "works in", one_line(task.current_cwd or task.working_folder or task.work_dir), ""
    yield "session", task.session_file, ""
    yield "outputs", task.outputs_dir, ""
    yield "uploads", task.uploads_dir, ""
    for question in task.questions:
        yield "asks", f"{question_line(question)}  (taskctl answer {question.request_id})", "bold magenta"
    yield "last error", one_line(task.last_error or task.bootstrap_error or ""), "red"


def _show_block(screen: Screen, role: str, block: Block) -> None:
    if block.type == "tool_call":
        screen.line(tool_line(block.name, bytes(block.args)), "cyan")
    elif block.type == "image":
        screen.line("[an image]", "dim")
    elif block.text:
        style = {"user": "bold", "toolResult": "dim"}.get(role, "dim italic" if block.type == "thinking" else "")
        mark = "> " if role == "user" else ""
        for line in block.text.rstrip("\n").split("\n"):
            screen.line(mark + screen.shown(line), style)
    if block.truncated:
        screen.line("… cut; the agent's own session file has it whole", "dim")
