"""Answers that are remembered, so that a request sent twice has one effect.

The same key with the same fingerprint gets the same answer, also while the first is still being worked on; the same key
with another fingerprint is refused. A retryable refusal is forgotten, so that trying again can succeed. Bounded in
entries and in bytes, least recently used first; what is still in flight is never evicted.
"""

from collections import OrderedDict

from taskd.core.effects import Effect, Refuse, Reply
from taskd.core.stimuli import Origin
from taskd.model.calls import BashResult, Result
from taskd.model.errors import Code, TaskdError
from taskd.model.ids import CallId

_ENTRY_BYTES = 512
"""What an ordinary answer weighs, roughly; only system_bash gives heavy ones."""


_ANSWERS = (Reply, Refuse)


class _Entry:
    """One key: who waits, or what was answered."""

    __slots__ = ("answer", "fingerprint", "waiting", "weight")

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.waiting: list[CallId] = []
        self.answer: Result | TaskdError | None = None
        self.weight = 0


class Replays:
    """The remembered answers of all scopes.

    Args:
        max_entries: bound of remembered answers.
        max_bytes: bound of their weight.
    """

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._bytes = 0
        self._answered: OrderedDict[str, _Entry] = OrderedDict()
        self._open: dict[str, _Entry] = {}
        self._keys: dict[CallId, str] = {}

    def __len__(self) -> int:
        return len(self._answered) + len(self._open)

    def admit(self, origin: Origin) -> list[Effect] | None:
        """Say what a repeated call gets, `[]` while the first is in flight; None for a new one, which goes on."""
        if origin.key is None:
            return None
        entry = self._open.get(origin.key) or self._answered.get(origin.key)
        if entry is None:
            self._begin(origin, origin.key)
            return None
        if entry.fingerprint != origin.fingerprint:
            return [Refuse(origin.call, _reused(origin.key))]
        if entry.answer is None:
            entry.waiting.append(origin.call)
            return []
        self._answered.move_to_end(origin.key)
        return [_answer(origin.call, entry.answer)]

    def settle(self, effects: list[Effect]) -> list[Effect]:
        """Remember the answers among `effects`, and give them to those who asked the same meanwhile."""
        if not self._keys:
            return effects
        settled: list[Effect] = []
        for effect in effects:
            settled.append(effect)
            if isinstance(effect, _ANSWERS) and effect.call in self._keys:
                settled.extend(self._finish(effect))
        return settled

    def _begin(self, origin: Origin, key: str) -> None:
        self._open[key] = _Entry(origin.fingerprint)
        self._keys[origin.call] = key

    def _finish(self, effect: Reply | Refuse) -> list[Effect]:
        key = self._keys.pop(effect.call)
        entry = self._open.pop(key)
        answer = effect.result if isinstance(effect, Reply) else effect.error
        twins: list[Effect] = [_answer(call, answer) for call in entry.waiting]
        if not (isinstance(answer, TaskdError) and answer.retryable):
            self._remember(key, entry, answer)
        return twins

    def _remember(self, key: str, entry: _Entry, answer: Result | TaskdError) -> None:
        entry.answer, entry.waiting, entry.weight = answer, [], _weight(answer)
        self._answered[key] = entry
        self._bytes += entry.weight
        while len(self._answered) > self._max_entries or (self._bytes > self._max_bytes and len(self._answered) > 1):
            _, old = self._answered.popitem(last=False)
            self._bytes -= old.weight


def _answer(call: CallId, answer: Result | TaskdError) -> Effect:
    return Refuse(call, answer) if isinstance(answer, TaskdError) else Reply(call, answer)


def _weight(answer: Result | TaskdError) -> int:
    return _ENTRY_BYTES + (len(answer.output) if isinstance(answer, BashResult) else 0)


def _reused(key: str) -> TaskdError:
    return TaskdError(
        Code.INVALID_REQUEST,
        "this request id was used before with another body; use a new id for a new request",
        details={"id": key.partition(":")[2]},
    )
