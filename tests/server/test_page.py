"""The page on the HTTP interface tells every route, error and limit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modhub.package.worker import Allowance
from modhub_registry import errors
from modhub_registry.app import hub_routes
from modhub_registry.settings import GIB, MIB, Limits
from modhub_registry.storage import trees

PAGE = (Path(__file__).parents[2] / "docs" / "http-api.md").read_text("utf-8")
FLAT = " ".join(PAGE.split())


@pytest.mark.parametrize("path", sorted({route.path for route in hub_routes()}))  # type: ignore[attr-defined]
def test_every_route_is_told(path: str) -> None:
    # Some routes are told in short, and the client never asks for others by itself.
    words = [word for word in re.split(r"[/{}:]", path) if word.isalpha() and word not in {"kind", "owner", "name"}]
    assert all(word in PAGE for word in words if word not in {"raw", "cache", "move", "action"}), path


def test_every_error_is_told() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.Refusal)]
    for kind in kinds:
        assert f"`{kind.code}`" in PAGE, kind
        assert str(kind.status) in PAGE, kind


def test_every_limit_is_told() -> None:
    limits = Limits()
    for text in (
        f"travels in the commit | {limits.regular_bytes // MIB} MiB",
        f"| a file | {limits.file_bytes // GIB} GiB",
        f"its files | {limits.commit_bytes // GIB} GiB; {limits.files_per_commit:,}",
        f"any other body | {limits.json_bytes // MIB} MiB",
        f"travel in parts | {limits.multipart_bytes // MIB} MiB, in parts of {limits.part_bytes // MIB} MiB",
        f"its depth | {trees.PATH_BYTES:,} bytes; {trees.NAME_BYTES} bytes; {trees.DEPTH}",
        f"without | {limits.requests_per_minute:,}",
        f"within {Allowance().memory_bytes // GIB} GiB of memory",
    ):
        assert text in FLAT, text
    assert limits.link_seconds == 3600
