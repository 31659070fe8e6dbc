"""Real processes on one folder: nothing is lost, nothing is won twice."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from modhub import fsops
from modhub.hub.client import Client
from modhub.hub.directory import DirectoryBackend
from modhub.hub.store import Store
from modhub.spec.index import Index
from tests.hub.packages import PETS, base_package, check_whole, lock_of, module
from tests.hub.workers import at_once, content_of, install, publish_clashing, publish_or_read, publish_side_by_side

if TYPE_CHECKING:
    from pathlib import Path

PUBLISHERS = 8
ROUNDS = 5


@pytest.fixture(params=["locks", "no locks"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> DirectoryBackend:
    """A folder, with working locks or where none can be had: a lock is comfort, never what decides."""
    backend = DirectoryBackend(tmp_path / "registry")
    if request.param == "no locks":
        (backend.root / "acme" / "pets" / ".modhub" / "lock").mkdir(parents=True)
    return backend


def test_of_all_who_publish_one_version_exactly_one_wins(backend: DirectoryBackend) -> None:
    answers = at_once(publish_clashing, backend.root, ROUNDS, workers=PUBLISHERS)
    index = check_whole(backend)
    assert len(index.releases) == index.revision == ROUNDS
    for number, (release, outcomes) in enumerate(zip(index.releases, zip(*answers, strict=True), strict=True)):
        assert sorted(outcomes) == ["VersionTaken"] * (PUBLISHERS - 1) + ["published"], number
        path = f"cat/{release.version}/delta.safetensors"
        weights = backend.read(PETS, path, revision=None, limit=100)
        assert weights == content_of(outcomes.index("published"))


def test_of_all_who_publish_different_versions_none_is_lost(backend: DirectoryBackend) -> None:
    answers = at_once(publish_side_by_side, backend.root, ROUNDS, workers=PUBLISHERS)
    index = check_whole(backend)
    count = PUBLISHERS * ROUNDS
    expected = {f"{number}.{minor}.0" for number in range(PUBLISHERS) for minor in range(ROUNDS)}
    assert {release.version for release in index.releases} == expected
    assert len({revision for revisions in answers for revision in revisions}) == count
    folder = backend.root / "acme" / "pets"
    assert fsops.list_folder(folder / ".modhub" / "index") == tuple(
        f"{number:08d}.json" for number in range(1, count + 1)
    )
    assert fsops.list_folder(folder / ".modhub" / "staged") == ()
    assert set(fsops.list_folder(folder / "cat")) == expected
    assert Index.from_json((folder / "modhub.json").read_bytes()) == index


def test_a_reader_meanwhile_sees_whole_states_that_only_grow(backend: DirectoryBackend) -> None:
    revisions, *_ = at_once(publish_or_read, backend.root, 1, 4, workers=5)
    assert revisions == sorted(revisions)
    assert revisions[-1] == 4


def test_of_all_who_install_at_once_one_downloads(tmp_path: Path) -> None:
    backend = DirectoryBackend(tmp_path / "registry")
    client = Client({"folder": backend}, store=Store(tmp_path / "publisher"))
    base = base_package()
    client.publish(PETS, [base, module(base=base), module("dog", base=base, content=b"other weights")])
    lock = lock_of(client.snapshot(PETS))
    answers = at_once(install, backend.root, tmp_path / "store", lock.to_toml(), workers=8)
    assert answers == [["acme/pets/base", "acme/pets/cat", "acme/pets/dog"]] * 8
    reads = (backend.root / "reads.log").read_text().split()
    assert len(reads) == len(set(reads)) == 8
    assert len(Store(tmp_path / "store").digests()) == 8


HOLDER = """
import sys, time
from pathlib import Path
from modhub.hub.store import Store
with Store(Path(sys.argv[1])).claim(sys.argv[2]):
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_claim_of_a_killed_process_is_free(tmp_path: Path) -> None:
    digest = "ab" * 32
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path), digest], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.kill()
        holder.wait()
        with Store(tmp_path).claim(digest):
            pass
