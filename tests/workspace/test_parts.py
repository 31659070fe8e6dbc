"""What a requirement on disk stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from modhub import flow
from modhub.errors import NotFound
from modhub.workspace.parts import parts_of_folder, path_of
from tests.support.pets import CLASSES, COLLECTION, pets_packages, publish_pets

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("text", ["./cat", "../cat", "/srv/cat", "path:cat"])
def test_a_path_is_what_is_written_as_one(text: str) -> None:
    assert path_of(text) is not None


@pytest.mark.parametrize("text", ["acme/pets/cat", "class:cat", "cat", ""])
def test_a_name_is_none_where_nothing_lies_there(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert path_of(text) is None


def test_a_collection_gives_its_modules_in_their_parents_order(tmp_path: Path) -> None:
    parts = parts_of_folder(flow.write_collection(pets_packages(), tmp_path / "pets"))
    assert [part.package.name for part in parts] == list(CLASSES)
    assert all(part.base is not None for part in parts)


def test_of_a_registrys_folder_the_newest_versions_count(tmp_path: Path) -> None:
    registry = publish_pets(tmp_path / "modules", "1.9.0", "1.10.0")
    assert {part.package.version for part in parts_of_folder(registry / COLLECTION)} == {"1.10.0"}


def test_one_module_of_a_collection_folder_is_named_without_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    publish_pets(tmp_path / "modules", "1.9.0", "1.10.0")
    (part,) = parts_of_folder(path_of(f"modules/{COLLECTION}/cat") or tmp_path)
    assert (part.package.name, part.package.version) == ("cat", "1.10.0")
    assert part.base is not None
    assert path_of(f"modules/{COLLECTION}/fox") is None
    with pytest.raises(NotFound, match="a collection without a module 'base'"):
        parts_of_folder(tmp_path / "modules" / COLLECTION / "base")


def test_a_folder_with_neither_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"module\.json"):
        parts_of_folder(tmp_path)
