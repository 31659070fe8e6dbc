"""What the processes of the concurrency tests do; each function runs in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from modhub.errors import ModhubError
from modhub.hub.client import Client
from modhub.hub.directory import DirectoryBackend
from modhub.hub.store import Store
from modhub.spec.index import Index
from modhub.spec.lock import Lock
from tests.hub.packages import PETS, check_whole, module

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.synchronize import Barrier

    from modhub.spec.names import CollectionId

Answer = TypeVar("Answer")
PATIENCE_S = 120


class LoggingBackend(DirectoryBackend):
    """A folder that notes each read in a file, for all processes together."""

    def read(self, collection: CollectionId, path: str, *, revision: str | None, limit: int) -> bytes:
        with (self.root / "reads.log").open("ab", buffering=0) as log:
            log.write(f"{path}\n".encode())
        return super().read(collection, path, revision=revision, limit=limit)


def at_once(work: Callable[..., Answer], *arguments: Any, workers: int) -> list[Answer]:
    """Return the answers of a function that runs in some processes, each with its number and a common barrier."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(workers) as pool:
        barrier = manager.Barrier(workers)
        jobs = [pool.apply_async(work, (number, barrier, *arguments)) for number in range(workers)]
        return [job.get(timeout=PATIENCE_S) for job in jobs]


def publish_clashing(number: int, barrier: Barrier, root: Path, rounds: int) -> list[str]:
    """Publish the version of each round with content of our own; return what came of it."""
    client = Client({"folder": DirectoryBackend(root)}, store=Store(root / f"store{number}"))
    answers = []
    for minor in range(rounds):
        barrier.wait(PATIENCE_S)
        try:
            client.publish(PETS, [module(version=f"1.{minor}.0", content=content_of(number))])
        except ModhubError as error:
            answers.append(type(error).__name__)
        else:
            answers.append("published")
    return answers


def publish_side_by_side(number: int, barrier: Barrier, root: Path, rounds: int) -> list[str]:
    """Publish a version of our own in each round; return the revisions."""
    client = Client({"folder": DirectoryBackend(root)}, store=Store(root / f"store{number}"))
    revisions = []
    for minor in range(rounds):
        barrier.wait(PATIENCE_S)
        result = client.publish(PETS, [module(version=f"{number}.{minor}.0")])
        revisions.append(str(result.revision))
    return revisions


def publish_or_read(number: int, barrier: Barrier, root: Path, rounds: int, count: int) -> list[int]:
    """Publish; the first process reads meanwhile until it has seen `count` releases, and returns the revisions."""
    if number:
        publish_side_by_side(number, barrier, root, rounds)
        return []
    for _ in range(rounds):
        barrier.wait(PATIENCE_S)
    backend, revisions = DirectoryBackend(root), []
    seen = Index()
    while len(seen.releases) < count:
        index = check_whole(backend)
        index.check_follows(seen)
        seen = index
        revisions.append(index.revision)
    return revisions


def install(_: int, barrier: Barrier, root: Path, store: Path, lock: str) -> list[str]:
    """Fetch a lock into a common store; return the names of what was fetched."""
    client = Client({"folder": LoggingBackend(root)}, store=Store(store))
    barrier.wait(PATIENCE_S)
    return sorted(client.fetch(Lock.from_toml(lock)))


def content_of(number: int) -> bytes:
    """Return the weights that a process publishes."""
    return b"weights of %d" % number


def publish_until_killed(root: Path) -> None:
    """Publish one version after another, and say so on standard output."""
    backend = DirectoryBackend(root)
    client = Client({"folder": backend}, store=Store(root / "store"))
    first = len(client.index(PETS).releases) if backend.head(PETS) else 0
    print("ready", flush=True)  # noqa: T201  The parent waits for it.
    for minor in range(first, 10_000):
        client.publish(PETS, [module(version=f"1.{minor}.0")])
        os.write(1, f"{minor}\n".encode())


if __name__ == "__main__":
    publish_until_killed(Path(sys.argv[1]))
