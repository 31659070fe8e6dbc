"""A3, A8: publishers killed at random times, and locks that everybody gets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from modhub.hub.directory import DirectoryBackend
from tests.faults import lying_locks, scenes
from tests.hub.packages import check_whole
from tests.hub.workers import at_once
from tests.support.figures import size

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.figures import Figures

pytestmark = pytest.mark.slow

PUBLISHERS = 6


def test_what_was_acknowledged_survives_kills_at_any_time(memory: Path, figures: Figures) -> None:
    kills = size(100, 5_000)
    done = scenes.run(scenes.python("tests.faults.killer", memory / "killed", str(kills), "20261121"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["acknowledged"] > kills / 2
    figures.tell("A3", "publish to a folder", **found, lost=0, half_there=0)


def test_a_lock_that_everybody_gets_decides_nothing(memory: Path, figures: Figures) -> None:
    rounds = size(20, 500)
    backend = DirectoryBackend(memory / "lied-to")
    answers = at_once(lying_locks.publish_clashing, backend.root, rounds, workers=PUBLISHERS)
    index = check_whole(backend)
    assert len(index.releases) == index.revision == rounds
    for number, outcomes in enumerate(zip(*answers, strict=True)):
        assert sorted(outcomes) == ["VersionTaken"] * (PUBLISHERS - 1) + ["published"], number
    figures.tell("A8", f"{PUBLISHERS} publishers of one version", rounds=rounds, winners_each=1, lost=0)
