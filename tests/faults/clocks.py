"""Publishes, yanks, installs and prunes with whatever clock it is given.

``python -m tests.faults.clocks FOLDER VERSION`` prints what it saw as JSON.

With a third argument, the file that `faketime` takes the time from, the clock jumps back before every change of a file.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from modhub.hub.cache import prune_cache
from tests.faults.scenes import open_client
from tests.hub.packages import PETS, lock_of, module


def main(folder: Path, version: str) -> None:
    """Do all of it once."""
    client = open_client(folder)
    client.publish(PETS, [module(version=version)])
    snapshot = client.snapshot(PETS)
    newest = max(snapshot.index.releases, key=lambda release: release.version)
    assert newest.version == version
    if len(snapshot.index.releases) == 1:
        client.fetch(lock_of(snapshot))
    client.yank(PETS.package("cat"), version=version, reason="to see what comes of it")
    client.backend().prune()  # type: ignore[attr-defined]
    prune_cache(client.store)
    assert client.index(PETS).get("cat", version)


def jumping(clock: Path) -> list[int]:
    """Let the clock jump back a day whenever a file gets its name; return where the jumps are counted."""
    jumps: list[int] = []
    syncing = os.fsync

    def jump(descriptor: int) -> None:
        jumps.append(descriptor)
        with clock.open("w") as file:
            file.write(f"-{len(jumps)}d")
        syncing(descriptor)

    vars(os)["fsync"] = jump
    return jumps


if __name__ == "__main__":
    jumps = jumping(Path(sys.argv[3])) if len(sys.argv) > 3 else []
    main(Path(sys.argv[1]), sys.argv[2])
    off = os.environ.get("FAKETIME", "+0y")
    years = int(off[:-1]) if off.endswith("y") else 0
    uptime = time.clock_gettime(time.CLOCK_MONOTONIC)
    booted = Path("/proc/stat").read_text().partition("btime ")[2].split()[0]
    right = time.gmtime(int(booted) + uptime).tm_year
    year = time.gmtime().tm_year
    print(json.dumps({"year": year, "expected_year": right + years, "jumps": len(jumps)}))  # noqa: T201  The answer.
