"""Looking into packages costs a process of its own, and never more than the patience there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from modhub_registry.checks.inspector import Inspector
from modhub_registry.errors import InvalidCollection
from modhub_registry.storage.blobs import FolderBlobs
from tests.server.collections import package

if TYPE_CHECKING:
    from pathlib import Path

    from modhub_registry.checks.inspector import Job


def job(blobs: FolderBlobs, name: str) -> Job:
    """Return what it takes to look into a package of the seed."""
    files = {}
    for path, data in package(name).contents().items():
        incoming = blobs.incoming(len(data))
        incoming.write(data)
        files[path] = blobs.keep(incoming).sha256
    return {"subject": f"{name}/1.0.0", "files": files, "base": {}}


def test_a_process_that_was_killed_is_replaced(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    looking = Inspector(blobs)
    wanted = [job(blobs, "cat")]
    assert looking.problems_of(wanted) == []
    assert looking._worker is not None
    assert looking._worker._process is not None
    looking._worker._process.kill()
    looking._worker._process.wait()
    assert looking.problems_of(wanted) == []
    looking.close()


def test_whoever_takes_too_long_is_refused(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    looking = Inspector(blobs, patience_s=0.01)
    with pytest.raises(InvalidCollection, match="cannot be checked within"):
        looking.problems_of([job(blobs, "cat")])
    assert looking._worker is None


def test_where_there_is_nothing_to_look_into_nothing_starts(tmp_path: Path) -> None:
    looking = Inspector(FolderBlobs(tmp_path))
    assert looking.problems_of([]) == []
    assert looking._worker is None
