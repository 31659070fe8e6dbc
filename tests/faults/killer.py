"""Kills publishers at random times: ``python -m tests.faults.killer FOLDER KILLS SEED`` prints figures as JSON.

Each publisher is a fork of this process, so that it costs milliseconds instead of the start of an interpreter.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from modhub.hub.directory import DirectoryBackend
from tests.faults import scenes
from tests.hub.packages import PETS, check_whole, module

if TYPE_CHECKING:
    from modhub.hub.client import Client

IN_ONE_FOLDER = 20
"""Kills before a new folder is begun, since an index grows and takes longer to check."""

MOST_ANSWERS = 2
"""How many acknowledgements a publisher may get before it is killed somewhere in the next release."""


def publish_for_ever(client: Client, first: int, told: int) -> None:
    """Publish one version after another, and say so when it was acknowledged."""
    try:
        for minor in range(first, 10_000):
            client.publish(PETS, [module(version=f"1.{minor}.0")])
            os.write(told, b"\n")
    finally:
        os._exit(1)


def kill_one(folder: Path, chance: random.Random, *, expected: int, one_takes_s: float) -> tuple[int, int, int]:
    """Kill a publisher; return how many releases it acknowledged, how many are there, and what it left lying about."""
    backend, client = DirectoryBackend(folder / "registry"), scenes.open_client(folder)
    heard, told = os.pipe()
    process = os.fork()
    if process == 0:
        publish_for_ever(client, expected, told)
    os.close(told)
    acknowledged = sum(len(os.read(heard, 1)) for _ in range(chance.randint(0, MOST_ANSWERS)))
    time.sleep(chance.uniform(0, 1.2 * one_takes_s))
    os.kill(process, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
    with os.fdopen(heard, "rb") as pipe:
        acknowledged += len(pipe.read())
    left = len(list(folder.rglob(".tmp-*")))
    versions = [release.version for release in check_whole(backend).releases]
    assert sorted(versions) == sorted(f"1.{minor}.0" for minor in range(len(versions)))
    assert expected + acknowledged <= len(versions) <= expected + acknowledged + 1
    return acknowledged, len(versions), left


def main(folder: Path, kills: int, seed: int) -> dict[str, int]:
    """Return what came of so many kills."""
    chance = random.Random(seed)  # noqa: S311  No secret.
    figures = {"kills": kills, "acknowledged": 0, "unanswered_but_done": 0, "left_and_pruned": 0}
    one_takes_s = 0.0
    for number in range(kills):
        place = folder / str(number // IN_ONE_FOLDER)
        backend = DirectoryBackend(place / "registry")
        expected = len(check_whole(backend).releases)
        acknowledged, there, left = kill_one(place, chance, expected=expected, one_takes_s=one_takes_s)
        figures["acknowledged"] += acknowledged
        figures["unanswered_but_done"] += there - expected - acknowledged
        figures["left_and_pruned"] += left
        # The next publisher repeats what may be there, and is in nobody's way.
        client, began = scenes.open_client(place), time.monotonic()
        assert client.publish(PETS, [module(version=f"1.{there}.0")]).published
        one_takes_s = time.monotonic() - began
        if there:
            assert client.publish(PETS, [module(version=f"1.{there - 1}.0")]).already
        backend.prune(older_than_s=-60)
        client.store.prune(older_than_s=-60)
        assert not list(place.rglob(".tmp-*"))
    return figures


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))  # noqa: T201  The answer.
