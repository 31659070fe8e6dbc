"""What the rows of the test matrix share."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.backings import KINDS, backed
from tests.support.figures import Figures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.backings import Backing

MEMORY = Path("/dev/shm")  # noqa: S108  Every name in it is chosen by `mkdtemp`.


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Figures:
    """Where a test notes what it counted."""
    return Figures(record_property)


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A folder in memory where there can be one: a disk that has to keep its word takes half a second a release."""
    place = MEMORY if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="modhub-faults-", dir=place))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=KINDS)
def backing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backing]:
    """A place for a registry."""
    with backed(request.param, tmp_path / "served") as found:
        yield found
