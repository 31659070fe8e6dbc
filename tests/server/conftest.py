"""A registry for each file of tests, and a name for each test."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.server.service import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.service import Service

NUMBERS = count(1)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A registry that listens, for all tests of a file."""
    with served(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture
def repo(service: Service) -> str:
    """The name of a new repository of alice's."""
    name = f"alice/repo{next(NUMBERS)}"
    service.api().create_repo(name)
    return name
