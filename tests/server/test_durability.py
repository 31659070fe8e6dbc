"""What was acknowledged survives a server that is killed at any time."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import TYPE_CHECKING

from modhub.spec.digests import sha256
from modhub_registry.storage.blobs import LEFTOVER_AGE_S, FolderBlobs
from tests.server.collections import lines
from tests.server.process import process
from tests.server.service import header

if TYPE_CHECKING:
    from pathlib import Path

    from tests.server.service import Service


def test_a_killed_server_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    acknowledged: dict[str, bytes] = {}
    token = ""
    for turn in range(2):
        with process(tmp_path) as server:
            token = token or server.service.token("alice")
            server.service.tokens["alice", "write"] = token
            if turn == 0:
                server.service.api().create_repo("alice/safe")
            check_all(server.service, acknowledged)
            stop = threading.Event()
            with ThreadPoolExecutor(4) as threads:
                for number in range(4):
                    threads.submit(keep_committing, server.service, f"{turn}-{number}", acknowledged, stop)
                time.sleep(0.5)
                server.kill()
                stop.set()
    with process(tmp_path) as server:
        server.service.tokens["alice", "write"] = token
        check_all(server.service, acknowledged)
    assert len(acknowledged) > 10
    with sqlite3.connect(tmp_path / "registry.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def keep_committing(service: Service, name: str, acknowledged: dict[str, bytes], stop: threading.Event) -> None:
    """Commit file after file until the server is gone, and note each that was acknowledged."""
    for number in range(10_000):
        data = os.urandom(2000)
        try:
            answer = service.commit("alice/safe", header(), *lines({f"{name}-{number}": data}))
        except (OSError, HTTPException):
            return
        if answer.status == 200:
            acknowledged[f"{name}-{number}"] = data
        if stop.is_set():
            return


def check_all(service: Service, acknowledged: dict[str, bytes]) -> None:
    """Check that every acknowledged file is there, and that nothing is listed which cannot be read."""
    if not acknowledged:
        return
    listed = service.call("GET", "/api/models/alice/safe/tree/main?limit=1000").json()
    assert acknowledged.keys() <= {row["path"] for row in listed}
    for row in listed:
        answer = service.call("GET", f"/alice/safe/resolve/main/{row['path']}")
        assert answer.status == 200
        if row["path"] in acknowledged:
            assert answer.body == acknowledged[row["path"]]


def test_a_server_that_is_asked_to_stop_ends_what_it_does(tmp_path: Path) -> None:
    with process(tmp_path) as server:
        server.service.api().create_repo("alice/last")
        data = {f"{number}": os.urandom(10_000) for number in range(50)}
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(server.service.commit, "alice/last", header(), *lines(data))
            time.sleep(0.05)
            server.running.terminate()
            assert answer.result().status in {200, 503}
        assert server.running.wait(20) == 0


def test_a_blob_is_named_once_its_bytes_are_right(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    incoming = blobs.incoming(4)
    incoming.write(b"data")
    assert not blobs.has(sha256(b"data"))
    assert blobs.keep(incoming).sha256 == sha256(b"data")
    assert b"".join(blobs.read(sha256(b"data"), start=1, length=2)) == b"at"
    again = blobs.incoming(4)
    again.write(b"data")
    blobs.keep(again)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [sha256(b"data")]


def test_what_uploads_left_is_cleaned_up_later(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    left = blobs.incoming(10)
    part = blobs.incoming(4)
    part.write(b"part")
    blobs.keep_part("0" * 32, 1, part)
    assert blobs.clean() == 0
    old = time.time() - LEFTOVER_AGE_S - 10
    for path in (tmp_path / "incoming").iterdir():
        os.utime(path, (old, old))
    assert blobs.clean() == 2
    assert list((tmp_path / "incoming").iterdir()) == []
    left.discard()
