"""Where a registry keeps what it keeps while tests kill it."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.server.backing import postgresql, s3
from tests.server.process import SECRETS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KINDS = ("sqlite", "postgresql")


@dataclass(frozen=True)
class Backing:
    """A folder, and the options of `modhub serve` that say otherwise."""

    root: Path
    options: tuple[str, ...] = ()
    name: str = "SQLite, folder"


@contextmanager
def backed(kind: str, root: Path) -> Iterator[Backing]:
    """Run what a registry of some kind needs while the block runs."""
    if kind == "sqlite":
        yield Backing(root)
        return
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        database, store = stack.enter_context(postgresql()), stack.enter_context(s3())
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        yield Backing(root, ("--database", database, "--store", store), "PostgreSQL, S3")
