"""A5, B4: a server killed and stopped while many commit; on SQLite and a folder, and on PostgreSQL and S3."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import pytest

from modhub.hub.publication import release_of
from modhub.spec.digests import sha256
from modhub.spec.index import Index
from tests.hub.packages import module
from tests.server.backing import postgresql, s3
from tests.server.collections import lines
from tests.server.process import SECRETS, process
from tests.server.service import Service, header
from tests.support.figures import size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.figures import Figures

pytestmark = pytest.mark.slow

WRITERS = 8
KILLS = size(3, 60)
SERVING_S = 1.5
OPTIONS = ("--checks", "index")


@dataclass(frozen=True)
class Backing:
    """Where a server keeps what it keeps: a folder, and the options that say otherwise."""

    root: Path
    options: tuple[str, ...] = ()
    name: str = "SQLite, folder"


@pytest.fixture(params=["sqlite", "postgresql"])
def backing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backing]:
    """A place for a registry."""
    if request.param == "sqlite":
        yield Backing(tmp_path)
        return
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        database, store = stack.enter_context(postgresql()), stack.enter_context(s3())
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        yield Backing(tmp_path, ("--database", database, "--store", store), "PostgreSQL, S3")


@dataclass
class Told:
    """What writers were told: the files that were acknowledged, and those that were sent at all."""

    acknowledged: dict[str, bytes] = field(default_factory=dict)
    sent: dict[str, bytes] = field(default_factory=dict)


def keep_committing(service: Service, name: str, told: Told, stop: threading.Event) -> None:
    """Commit file after file until the server is gone."""
    for number in range(10_000):
        path, data = f"{name}-{number}", os.urandom(500)
        told.sent[path] = data
        try:
            answer = service.commit("alice/safe", header(), *lines({path: data}))
        except (OSError, HTTPException):
            return
        if answer.status == 200:
            told.acknowledged[path] = data
        if stop.is_set():
            return


def check_all(service: Service, told: Told) -> int:
    """Check that all that was acknowledged is there, and that all that is there is whole; return how much that is."""
    listed: list[dict[str, Any]] = []
    path = "/api/models/alice/safe/tree/main?limit=1000"
    while path:
        answer = service.call("GET", path)
        listed += answer.json()
        link = answer.headers.get("link", "")
        path = link[1 : link.index(">")].removeprefix(service.url) if "next" in link else ""
    there = {row["path"]: row["size"] for row in listed if row["path"] != ".gitattributes"}
    assert told.acknowledged.keys() <= there.keys() <= told.sent.keys()
    for name in random.Random(len(there)).sample(sorted(there), min(40, len(there))):  # noqa: S311  No secret.
        answer = service.call("GET", f"/alice/safe/resolve/main/{name}")
        assert answer.body == told.sent[name], name
    return len(there)


def test_a_server_killed_during_commits_loses_nothing(backing: Backing, figures: Figures) -> None:
    told, token, there = Told(), "", 0
    chance = random.Random(5)  # noqa: S311  No secret.
    for turn in range(KILLS + 1):
        with process(backing.root, *backing.options) as server:
            service = server.service
            token = token or service.token("alice")
            service.tokens["alice", "write"] = token
            if turn == 0:
                service.api().create_repo("alice/safe")
            there = check_all(service, told)
            if turn == KILLS:
                break
            stop = threading.Event()
            with ThreadPoolExecutor(WRITERS) as threads:
                for number in range(WRITERS):
                    threads.submit(keep_committing, service, f"{turn}-{number}", told, stop)
                time.sleep(chance.uniform(0.3, 1.0) * SERVING_S)
                server.kill()
                stop.set()
    assert len(told.acknowledged) > 5 * KILLS
    if not backing.options:
        with sqlite3.connect(backing.root / "registry.sqlite") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
    figures.tell(
        "A5",
        f"{backing.name}, {WRITERS} writers",
        kills=KILLS,
        acknowledged=len(told.acknowledged),
        there=there,
        lost=0,
        half_there=0,
    )


@dataclass
class History:
    """What clients did and saw, in the order in which they were answered."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    published: dict[str, str] = field(default_factory=dict)
    refused: int = 0
    unanswered: set[str] = field(default_factory=set)
    reads: int = 0


def publish_once(service: Service, version: str, client: int) -> int:
    """Publish a version to the collection as it is now; return the status of the commit."""
    package = module(version=version, content=b"weights of %d" % client)
    head = service.call("GET", "/api/models/alice/pets").json()["sha"]
    old = service.call("GET", f"/alice/pets/resolve/{head}/modhub.json")
    index = Index.from_json(old.body) if old.status == 200 else Index()
    before = old.body if old.status == 200 else Index().to_json()
    if (found := index.get("cat", version)) is not None:
        return 200 if found.manifest.sha256 == sha256(package.files["module.json"]) else 409
    after = index.adding([release_of(package)], previous=sha256(before))
    files = {f"cat/{version}/{path}": data for path, data in package.files.items()}
    parent = {"parentCommit": head} if head else {}
    return service.commit("alice/pets", header(**parent), *lines({**files, "modhub.json": after.to_json()})).status


def take_part(service: Service, client: int, history: History, operations: int) -> None:
    """Publish and read, and note what came of it."""
    chance = random.Random(client)  # noqa: S311  No secret.
    newest = 0
    for number in range(operations):
        version = f"1.{chance.randrange(operations)}.0"
        try:
            if number % 3:
                data = service.call("GET", "/alice/pets/resolve/main/modhub.json")
                if data.status == 200:
                    index = Index.from_json(data.body)
                    # What one client sees never goes back.
                    assert index.revision >= newest
                    newest = index.revision
                    with history.lock:
                        history.reads += 1
                continue
            status = publish_once(service, version, client)
        except (OSError, HTTPException, json.JSONDecodeError, KeyError):
            with history.lock:
                history.unanswered.add(f"{version} by {client}")
            time.sleep(0.1)
            continue
        with history.lock:
            if status == 200:
                # Written once: whoever is told so wrote these very bytes.
                assert history.published.setdefault(version, str(client)) == str(client)
            else:
                history.refused += 1


def test_a_history_explains_itself(backing: Backing, figures: Figures) -> None:
    clients, operations, turns = 6, size(30, 2_000), size(2, 10)
    history, token = History(), ""
    for turn in range(turns + 1):
        with process(backing.root, *backing.options) as server:
            service = server.service
            token = token or service.token("alice")
            service.tokens["alice", "write"] = token
            if turn == 0:
                service.api().create_repo("alice/pets")
            with ThreadPoolExecutor(clients) as threads:
                jobs = [threads.submit(take_part, service, each, history, operations) for each in range(clients)]
                if turn < turns:
                    time.sleep(SERVING_S)
                    server.running.send_signal(signal.SIGSTOP)
                    time.sleep(0.3)
                    server.running.send_signal(signal.SIGCONT)
                    time.sleep(SERVING_S / 2)
                    server.kill()
                for job in jobs:
                    job.result()
            if turn == turns:
                check_history(service, history)
    figures.tell(
        "B4",
        f"{backing.name}, {clients} clients, killed and stopped {turns} times",
        published=len(history.published),
        refused=history.refused,
        unanswered=len(history.unanswered),
        reads=history.reads,
        unexplained=0,
    )


def check_history(service: Service, history: History) -> None:
    """Check that the collection is what the clients were told, plus some of what they were not answered."""
    index = Index.from_json(service.call("GET", "/alice/pets/resolve/main/modhub.json").body)
    assert index.revision == len(index.releases)
    there = {release.version: release for release in index.releases}
    assert history.published.keys() <= there.keys()
    for version, release in there.items():
        weights = service.call("GET", f"/alice/pets/resolve/main/cat/{version}/delta.safetensors").body
        writer = weights.rpartition(b" ")[2].decode()
        assert history.published.get(version, writer) == writer
        assert version in history.published or f"{version} by {writer}" in history.unanswered
        assert release.manifest.sha256 == sha256(
            service.call("GET", f"/alice/pets/resolve/main/cat/{version}/module.json").body
        )
