"""How long a search has taken, how long it may, and how long it will."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modhub.decomposers.checkpoint import Checkpoint
    from modhub.decomposers.options import Options


@dataclass(frozen=True)
class Clock:
    """Time as a search with a budget sees it; the runs before a resumed one count.

    Args:
        checkpoint: which knows what earlier runs took.
        budget: seconds that the search may take, None for no limit.
    """

    checkpoint: Checkpoint
    budget: float | None

    @classmethod
    def of(cls, options: Options, checkpoint: Checkpoint) -> Clock:
        """Return the clock of a search with these options."""
        return cls(checkpoint, options.budget)

    def is_over(self, *, ahead_s: float = 0.0) -> bool:
        """Tell whether work of `ahead_s` more seconds would end after the budget."""
        return self.budget is not None and self.checkpoint.spent_s + ahead_s > self.budget

    def left_s(self, done: float) -> float | None:
        """Return how many seconds are left when a share of the work is done; None before anything is."""
        if done <= 0:
            return None
        left = self.checkpoint.spent_s * (1 - done) / done
        return left if self.budget is None else max(0.0, min(left, self.budget - self.checkpoint.spent_s))
