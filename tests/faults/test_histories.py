"""B4: many clients publish, yank, look and install while the server is stopped and killed: what they saw is explained.

Every client is a whole one, with a store of its own, and every package one that the server looks into. What is checked:
each version is written once; what was acknowledged before a look is in it; nothing else is there than what somebody
sent; marks stay; the revision never falls; and whatever is listed can be installed.
"""

from __future__ import annotations

import functools
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from modhub.errors import CommitConflict, HubError, NotFound, VersionTaken
from modhub.hub.client import Client
from modhub.hub.huggingface import HuggingFaceBackend
from modhub.hub.mirror import release_contents
from modhub.hub.store import Store
from modhub.spec.names import CollectionId
from tests.hub.packages import check_whole
from tests.server.process import process
from tests.support.figures import size
from tests.support.pets import pets_packages
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.package.package import Package
    from modhub.spec.index import Index, Release
    from tests.faults.backings import Backing
    from tests.server.process import Process
    from tests.support.figures import Figures

pytestmark = pytest.mark.slow

PETS = CollectionId("alice", "pets")
CLIENTS = 6
OPERATIONS = size(20, 2_000)
VERSIONS = size(30, 1_000)
FAULTS = size(2, 60)
BETWEEN_S = 1.0
STOPPED_S = 0.5
PATIENCE_S = size(120, 7_200)
MODULE = "cat"

Key = tuple[str, str]
"""Version, and the digest of the manifest."""


@functools.lru_cache(maxsize=64)
def packages_of(version: str, client: int) -> tuple[Package, Package]:
    """Return a base, which all clients make alike, and a module that only one of them makes."""
    base, module, *_ = pets_packages(version, seed=client)
    assert module.name == MODULE
    return base, module


@dataclass
class History:
    """What all clients together sent and were told."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    sent: set[Key] = field(default_factory=set)
    published: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    yanking: set[str] = field(default_factory=set)
    yanked: set[str] = field(default_factory=set)
    unanswered: int = 0
    conflicts: int = 0
    reads: int = 0
    installed: int = 0

    def told(self) -> tuple[dict[str, str], set[str]]:
        """Return what was published and what was yanked as far as anybody knows by now."""
        with self.lock:
            return dict(self.published), set(self.yanked)


@dataclass
class Person:
    """A client with a store of its own, and the newest revision that it saw."""

    number: int
    client: Client
    history: History
    revision: int = 0

    def act(self, chance: random.Random) -> None:
        """Do one thing; an answer that does not come is noted, and one that explains nothing fails the test."""
        action = chance.choices((self.publish, self.look, self.install, self.yank), weights=(4, 3, 2, 1))[0]
        try:
            action(chance)
        except CommitConflict:
            with self.history.lock:
                self.history.conflicts += 1
        except NotFound:
            assert not self.history.published, "the collection is gone"
        except HubError:
            with self.history.lock:
                self.history.unanswered += 1

    def publish(self, chance: random.Random) -> None:
        """Publish a version of one's own making, which others may have taken."""
        packages = packages_of(f"1.{chance.randrange(VERSIONS)}.0", self.number)
        version, digest = packages[1].version, packages[1].digest
        with self.history.lock:
            self.history.sent.add((version, digest))
        try:
            self.client.publish(PETS, packages)
        except VersionTaken:
            with self.history.lock:
                assert self.history.published.get(version) != digest
                self.history.taken.add(version)
            return
        with self.history.lock:
            # Written once: whoever is told so wrote these very bytes.
            assert self.history.published.setdefault(version, digest) == digest

    def look(self, _: random.Random) -> Index:
        """Read the index and compare it with all that was acknowledged before."""
        published, yanked = self.history.told()
        index = self.client.snapshot(PETS).index
        assert index.revision >= self.revision
        self.revision = index.revision
        check_explained(index, self.history, published=published, yanked=yanked)
        with self.history.lock:
            self.history.reads += 1
        return index

    def install(self, chance: random.Random) -> None:
        """Fetch a release and its base; the client hashes every byte of it."""
        now = self.client.snapshot(PETS)
        module = self.choose(now.index, chance)
        base = now.index.get("base", module.version)
        assert base is not None, "half of a publication is there"
        assert release_contents(self.client, now, [base, module])
        with self.history.lock:
            self.history.installed += 1

    def yank(self, chance: random.Random) -> None:
        """Mark a release."""
        version = self.choose(self.client.snapshot(PETS).index, chance).version
        with self.history.lock:
            self.history.yanking.add(version)
        self.client.yank(PETS.package(MODULE), version=version, reason="wrong")
        with self.history.lock:
            self.history.yanked.add(version)

    def choose(self, index: Index, chance: random.Random) -> Release:
        """Return a module that is listed."""
        found = index.find(MODULE)
        if not found:
            raise NotFound("nothing is published yet")
        return chance.choice(found)


def check_explained(index: Index, history: History, *, published: dict[str, str], yanked: set[str]) -> None:
    """Check that an index holds what had been acknowledged, and nothing that nobody sent."""
    there = {release.version: release for release in index.find(MODULE)}
    assert published.items() <= {version: release.manifest.sha256 for version, release in there.items()}.items()
    assert {release.version for release in index.find("base")} == set(there), "half of a publication is there"
    with history.lock:
        assert {(version, release.manifest.sha256) for version, release in there.items()} <= history.sent
        assert yanked <= {version for version, release in there.items() if release.yanked} <= history.yanking


def open_client(address: str, token: str, folder: Path) -> Client:
    """Return a client of the server with a store of its own."""
    return Client({"it": HuggingFaceBackend.of_server(address).with_token(token)}, store=Store(folder))


def live(person: Person, stop: threading.Event) -> None:
    """Do one thing after the other."""
    chance = random.Random(person.number)  # noqa: S311  No secret.
    for _ in range(OPERATIONS):
        if stop.is_set():
            return
        person.act(chance)


def disturb(server: Process) -> None:
    """Let a server work, stand still, work on, and end as in a power cut."""
    time.sleep(BETWEEN_S)
    server.running.send_signal(signal.SIGSTOP)
    time.sleep(STOPPED_S)
    server.running.send_signal(signal.SIGCONT)
    time.sleep(BETWEEN_S / 2)
    server.kill()


def test_a_history_explains_itself(backing: Backing, tmp_path: Path, figures: Figures) -> None:
    history, options, stop = History(), ("--port", str(free_port()), *backing.options), threading.Event()
    with process(backing.root, *options) as server:
        address, token = server.service.url, server.service.token("alice")
    people = [Person(each, open_client(address, token, tmp_path / str(each)), history) for each in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as threads:
        try:
            jobs = [threads.submit(live, person, stop) for person in people]
            for _ in range(FAULTS):
                with process(backing.root, *options) as server:
                    disturb(server)
            with process(backing.root, *options):
                for job in jobs:
                    job.result(PATIENCE_S)
                index = check_whole(people[0].client.backend(), PETS)
        finally:
            stop.set()
    check_explained(index, history, published=history.published, yanked=history.yanked)
    assert history.taken <= {release.version for release in index.find(MODULE)}
    assert index.revision >= max(person.revision for person in people)
    assert min(len(history.published), history.reads, history.installed, len(history.yanked)) > 0
    figures.tell(
        "B4",
        f"{backing.name}, {CLIENTS} clients, stopped and killed {FAULTS} times",
        operations=CLIENTS * OPERATIONS,
        published=len(history.published),
        taken_before=len(history.taken),
        yanked=len(history.yanked),
        reads=history.reads,
        installed=history.installed,
        unanswered=history.unanswered,
        unexplained=0,
    )
