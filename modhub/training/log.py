"""A log that TensorBoard reads: ``tensorboard --logdir DIR/log``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Log:
    """Writes numbers per epoch; only the first process writes."""

    def __init__(self, folder: Path, *, writes: bool) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder)) if writes else None

    def add(self, numbers: Mapping[str, float], *, epoch: int) -> None:
        """Add numbers of one epoch."""
        if self._writer is not None:
            for name, value in numbers.items():
                self._writer.add_scalar(name, value, epoch)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
