"""M1: registries stream, and what looks into a package does not hold it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.faults import scenes
from tests.faults.peak import STATUS
from tests.hub.served import served
from tests.support.figures import STRESS, size

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.figures import Figures

MIB = 1 << 20
BYTES = size(64 * MIB, 2048 * MIB)
LIMIT = 500 * MIB
CHECKED_BYTES = size(128 * MIB, 2048 * MIB)
START = {"command": 128 * MIB, "worker": 140 * MIB}
"""What Python, numpy and ONNX take before they see a package, and some air."""

SHARE = {"command": 0.05, "worker": 0.15}
"""What may grow with the package: its table of sites, and channels as numbers, never its weights."""


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


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="NOT TESTED: only Linux says what a process held")
def test_no_command_holds_a_large_package(tmp_path: Path, figures: Figures) -> None:
    pets, registry = tmp_path / "pets", tmp_path / "registry"
    made = scenes.run(scenes.python("tests.faults.peak", "make", str(CHECKED_BYTES), pets))
    assert made.returncode == 0, made.stderr
    commands: dict[str, tuple[str | Path, ...]] = {
        "check": (pets,),
        "publish": (pets, "--to", registry, "--name", "acme/pets"),
        "install": ("-r", registry, "acme/pets/cat", "class:dog", "--lock", tmp_path / "modhub.lock"),
    }
    for name, words in commands.items():
        home = {"HOME": str(tmp_path / name), "MODHUB_STORE": str(tmp_path / "store")}
        done = scenes.run(scenes.python("tests.faults.peak", "run", name, *words), **home)
        assert done.returncode == 0, done.stderr
        held = dict(zip(("command", "worker"), json.loads(done.stdout.splitlines()[-1]), strict=True))
        figures.tell(
            "M1",
            f"{name} a collection",
            size_MiB=CHECKED_BYTES // MIB,
            command_MiB=held["command"] // MIB,
            worker_MiB=held["worker"] // MIB,
        )
        for who, most in held.items():
            assert most < min(START[who] + SHARE[who] * CHECKED_BYTES, LIMIT), (name, who, most // MIB)
