"""Who looks into the packages of a lock: this process into those that came with modhub, a worker into all others."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from modhub.hub.registries import SEED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modhub.hub.client import Client
    from modhub.package.worker import Verifier
    from modhub.spec.lock import LockedModule


@contextmanager
def verifier(modules: Iterable[LockedModule], client: Client) -> Iterator[Verifier]:
    """Yield what verifies the packages of a lock, in one process for all of them.

    Raises:
        StorageError: the system starts no process.
    """
    if all(came_with_modhub(module, client) for module in modules):
        from modhub.package.verify import verify

        yield verify
        return
    from modhub.package.worker import Worker

    with Worker() as worker:
        worker.start()  # It gets ready while files are fetched.
        yield worker.verify


def came_with_modhub(module: LockedModule, client: Client) -> bool:
    """Tell whether the embedded registry lists a release of a lock; that the lock says so proves nothing.

    The lock may be a stranger's, and the store may hold the bytes that it names from elsewhere.
    """
    if module.registry != SEED:
        return False
    collection = module.package.collection
    if collection not in client.collections(registry=SEED):
        return False
    release = client.index(collection, registry=SEED).get(module.package.name, module.version)
    return release is not None and release.manifest.sha256 == module.manifest_sha256
