"""A5: a server killed while many commit; on SQLite and a folder, and on PostgreSQL and S3."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import pytest

from tests.server.collections import lines
from tests.server.process import process
from tests.server.service import Service, header
from tests.support.figures import size

if TYPE_CHECKING:
    from tests.faults.backings import Backing
    from tests.support.figures import Figures

pytestmark = pytest.mark.slow

WRITERS = 8
KILLS = size(3, 60)
SERVING_S = 1.5


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
