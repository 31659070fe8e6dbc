"""M1: a module is published and installed without being held in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults import scenes
from tests.hub.served import served
from tests.support.figures import STRESS, size

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.figures import Figures

MIB = 1 << 20
BYTES = size(64 * MIB, 2048 * MIB)
LIMIT = 500 * MIB


@pytest.mark.parametrize("kind", ["folder", "server"])
def test_a_large_module_is_published_and_fetched_in_little_memory(tmp_path: Path, kind: str, figures: Figures) -> None:
    if not STRESS:
        pytest.skip("takes MODHUB_STRESS=1: 64 MB are published and fetched by tests/hub/test_huggingface.py")
    with served(tmp_path / "served") as running:
        registry = running.url if kind == "server" else str(tmp_path / "registry")
        done = scenes.run(scenes.python("tests.hub.large", registry, running.token, str(BYTES), tmp_path))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < LIMIT
    figures.tell("M1", f"publish to a {kind} and fetch", size_MB=BYTES // MIB, memory_MB=int(done.stdout) / MIB)
