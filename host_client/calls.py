"""The guest's methods as typed coroutines: one for each, with the contract's own structs as results.

Every call may raise `GuestError` (the guest refused; see its `code`), `ConnectionLost`, `CallTimeout`, `BadAnswer` and
`TooManyCalls`; the docstrings name only what is special. `timeout` is seconds, and None stands for the method's own.
What needs events besides the answer (switch, prompt) is in `client`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from os import PathLike, fspath

from host_client import methods
from host_client.errors import GuestError
from host_client.methods import Method, P, R
from taskd.model import calls
from taskd.model.calls import (
    AbortResult,
    AnswerResult,
    AuthenticateResult,
    BashResult,
    DiagResult,
    Done,
    DriverResult,
    ModelsResult,
    OpenResult,
    PingResult,
    SayResult,
    SessionResult,
    SetModelResult,
    StateResult,
    StopResult,
    TaskView,
)
from taskd.model.errors import TaskdError


class Calls(ABC):
    """Everything that a host can ask of a guest with one request and one answer."""

    @abstractmethod
    async def call(
        self, method: Method[P, R], params: P, timeout: float | None = None, *, seen: Callable[[R], None] | None = None
    ) -> R:
        """Call a method of the table in `methods`."""

    # Tasks ----------------------------------------------------------------------------------------------------------

    async def open(
        self,
        task_id: str,
        *,
        agent: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        thinking_level: str | None = None,
        working_folder: str | PathLike[str] | None = None,
        working_folder_relative: str | None = None,
        timeout: float | None = None,
    ) -> OpenResult:
        """Create a task, resume a stopped one or recover an errored one; `mode` of the result says which it was.

        Returns when the task's agent has answered. A task that is open already is refused as `TASK_NOT_READY`.
        """
        params = calls.CreateOrOpenTask(
            task_id=task_id,
            agent=agent,
            provider=provider,
            model=model,
            thinking_level=thinking_level,
            working_folder=None if working_folder is None else fspath(working_folder),
            working_folder_relative=working_folder_relative,
        )
        return await self.call(methods.OPEN, params, timeout)

    async def stop(self, task_id: str, timeout: float | None = None) -> StopResult:
        """Stop a task's agent; the session stays and can be resumed. A stopped task is left as it is."""
        return await self.call(methods.STOP, calls.StopTask(task_id=task_id), timeout)

    async def get_task(self, task_id: str) -> TaskView:
        """Give one task as it is now."""
        return await self.call(methods.GET_TASK, calls.GetTask(task_id=task_id))

    async def get_session(self, task_id: str, from_turn: int = 1) -> SessionResult:
        """Give the completed turns from that number on; each of `turns` decodes as `taskd.model.records.Turn`."""
        return await self.call(methods.GET_SESSION, calls.GetSession(task_id=task_id, from_turn=from_turn))

    @abstractmethod
    async def get_state(self) -> StateResult:
        """Give all tasks as they are now, and the active one."""

    # The running turn -----------------------------------------------------------------------------------------------

    async def steer(self, message: str, task_id: str | None = None) -> SayResult:
        """Say something to the running turn of the active task (or of `task_id`), before its next model call."""
        return await self.call(methods.STEER, calls.Steer(message=message, task_id=task_id))

    async def follow_up(self, message: str, task_id: str | None = None) -> SayResult:
        """Queue something for when the running turn would end."""
        return await self.call(methods.FOLLOW_UP, calls.FollowUp(message=message, task_id=task_id))

    async def abort(self, task_id: str | None = None) -> AbortResult:
        """End the running turn; its `agent_end` follows, with the stop reason aborted."""
        return await self.call(methods.ABORT, calls.Abort(task_id=task_id))

    async def answer(
        self,
        request_id: str,
        *,
        value: str | None = None,
        confirmed: bool | None = None,
        cancelled: bool = False,
        task_id: str | None = None,
    ) -> AnswerResult:
        """Answer an agent's question with exactly one of `value`, `confirmed` and `cancelled`."""
        params = calls.Answer(
            request_id=request_id, value=value, confirmed=confirmed, cancelled=cancelled, task_id=task_id
        )
        return await self.call(methods.ANSWER, params)

    # Models ---------------------------------------------------------------------------------------------------------

    async def list_models(self, task_id: str | None = None) -> ModelsResult:
        """Give the models that the agent of the active task (or of `task_id`) can use."""
        return await self.call(methods.LIST_MODELS, calls.ListModels(task_id=task_id))

    async def set_model(self, provider: str, model: str, task_id: str | None = None) -> SetModelResult:
        """Use another model from the next model call on."""
        try:
            params = calls.SetModel(provider=provider, model=model, task_id=task_id)
        except TaskdError as error:
            raise GuestError(error.code, error.message, details=error.details) from None
        return await self.call(methods.SET_MODEL, params)

    # The channel and the daemon -------------------------------------------------------------------------------------

    async def ping(self, timeout: float | None = None) -> PingResult:
        """Ask for a sign of life."""
        return await self.call(methods.PING, calls.Ping(), timeout)

    async def authenticate(self, token: str) -> AuthenticateResult:
        """Show a token on a connection that was made without one."""
        return await self.call(methods.AUTHENTICATE, calls.Authenticate(token=token))

    async def take_driver(self, *, force: bool = False) -> DriverResult:
        """Take the driver lease; `force` takes it from whoever holds it. It belongs to the connection."""
        return await self.call(methods.TAKE_DRIVER, calls.TakeDriver(force=force))

    async def release_driver(self) -> DriverResult:
        """Give the driver lease back."""
        return await self.call(methods.RELEASE_DRIVER, calls.ReleaseDriver())

    async def system_bash(
        self, command: str, *, cwd: str | None = None, timeout_seconds: float | None = None
    ) -> BashResult:
        """Run a shell command in the guest, as the daemon's user; `exit_code` is 124 if its time limit ended it."""
        params = calls.SystemBash(command=command, cwd=cwd, timeout_seconds=timeout_seconds)
        wait = (timeout_seconds or methods.BASH) + methods.BASH_GRACE
        return await self.call(methods.SYSTEM_BASH, params, wait)

    async def diag(self) -> DiagResult:
        """Give facts that help to find a fault; the inner fields are no contract."""
        return await self.call(methods.DIAG, calls.Diag())

    async def shutdown(self, reason: str = "") -> Done:
        """Stop the daemon in order: turns are ended and saved, agents are stopped."""
        return await self.call(methods.SHUTDOWN, calls.Shutdown(reason=reason))
