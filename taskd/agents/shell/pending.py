"""The prompts that wait for a run: steering before follow-ups, each in order, one at a time as pi's default is."""

from __future__ import annotations

from .limits import QUEUE_BYTES, QUEUE_LIMIT


class Pending:
    """Two bounded queues; `steering` goes first."""

    def __init__(self) -> None:
        self.steering: list[str] = []
        self.follow_up: list[str] = []

    def __len__(self) -> int:
        return len(self.steering) + len(self.follow_up)

    def has_room(self, text: str) -> bool:
        """Whether `text` fits into the bounds."""
        waiting = sum(map(len, self.steering)) + sum(map(len, self.follow_up))
        return len(self) < QUEUE_LIMIT and waiting + len(text) <= QUEUE_BYTES

    def take(self) -> str | None:
        """The next prompt, if there is one."""
        queue = self.steering or self.follow_up
        return queue.pop(0) if queue else None

    def clear(self) -> dict[str, list[str]]:
        """Empty both; what they held, as `clear_queue` answers it."""
        held = {"steering": self.steering, "followUp": self.follow_up}
        self.steering, self.follow_up = [], []
        return held
