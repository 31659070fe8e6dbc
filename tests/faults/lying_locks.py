"""What processes do on a file system whose locks everybody gets; each function runs in a process of its own."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING

from tests.hub import workers

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier
    from pathlib import Path


def publish_clashing(number: int, barrier: Barrier, root: Path, rounds: int) -> list[str]:
    """Publish the version of each round with content of our own, as Lustre and some NFS would have it."""
    vars(fcntl)["flock"] = lambda *_: None
    return workers.publish_clashing(number, barrier, root, rounds)
