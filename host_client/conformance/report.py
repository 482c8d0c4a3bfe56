"""What came of a run: one outcome for each conversation, and words for people."""

from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """How one conversation went."""

    KEPT = "kept"
    BROKEN = "broken"
    SKIPPED = "skipped"


class Outcome(NamedTuple):
    """One conversation. `why` is empty, a reason for skipping, or the difference with its place, several lines long."""

    transcript: str
    dialect: str
    verdict: Verdict
    why: str = ""

    def __str__(self) -> str:
        line = f"{self.verdict:<7}  {self.dialect:<7}  {self.transcript}"
        if not self.why:
            return line
        return "\n".join([line, *(f"    {part}" for part in self.why.split("\n"))])


class Report(NamedTuple):
    """A whole run."""

    address: str
    outcomes: tuple[Outcome, ...]

    @property
    def kept(self) -> bool:
        """Whether no conversation was broken, and at least one took place."""
        verdicts = {outcome.verdict for outcome in self.outcomes}
        return Verdict.BROKEN not in verdicts and Verdict.KEPT in verdicts

    def count(self, verdict: Verdict) -> int:
        """Say how many went so."""
        return sum(outcome.verdict is verdict for outcome in self.outcomes)

    def __str__(self) -> str:
        counts = ", ".join(f"{self.count(verdict)} {verdict}" for verdict in Verdict)
        return "\n".join([*map(str, self.outcomes), f"{self.address}: {counts}"])
