"""Who looks into the packages of a lock: this process into those that came with modhub, a worker into all others."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from modhub.hub.registries import SEED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modhub.package.worker import Verifier
    from modhub.spec.lock import LockedModule


@contextmanager
def verifier(modules: Iterable[LockedModule]) -> Iterator[Verifier]:
    """Yield what verifies the packages of a lock, in one process for all of them.

    Raises:
        StorageError: the system starts no process.
    """
    if all(module.registry == SEED for module in modules):
        from modhub.package.verify import verify

        yield verify
        return
    from modhub.package.worker import Worker

    with Worker() as worker:
        worker.start()  # It gets ready while files are fetched.
        yield worker.verify
