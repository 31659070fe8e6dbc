"""How far a transfer is: what long work tells whoever waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Bytes that are here, of those that are wanted; `total` grows while more becomes known."""

    file: str
    done: int
    total: int


Progress: TypeAlias = Callable[[Transfer], None]
"""Called after every piece, from any thread, one call at a time."""


class Meter:
    """Adds up what several threads transfer, and tells it."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._done = self._total = 0

    def expect(self, count: int) -> None:
        """Note that so many bytes more are wanted."""
        with self._lock:
            self._total += count

    def add(self, count: int, *, file: str) -> None:
        """Note that so many bytes of a file have come; negative ones were thrown away."""
        with self._lock:
            self._done += count
            if self._progress is not None:
                self._progress(Transfer(file=file, done=self._done, total=self._total))
