"""Collections as folders: written whole, read back equal, and every problem told with its place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from modhub import fsops
from modhub.errors import FormatError, InvalidPackage, NotFound
from modhub.package.folder import collection_files, read_collection, read_index, read_package
from modhub.package.materialise import network_of
from tests.support.samples import packages

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """Return a folder with a base and three modules in both forms."""
    folder = tmp_path / "pets"
    fsops.write_folder(folder, collection_files(packages(), summary="Pets"))
    return folder


def test_a_collection_survives_the_way_through_a_folder(collection: Path) -> None:
    assert [package.files for package in read_collection(collection)] == [package.files for package in packages()]
    index = read_index(collection)
    assert (index.revision, index.summary) == (1, "Pets")
    assert [release.name for release in index.releases] == ["base", "bird", "cat", "dog"]


def test_equal_packages_make_equal_collections() -> None:
    assert collection_files(packages()) == collection_files(reversed(packages()))


def test_a_package_finds_its_base_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    fsops.write_folder(folder, collection_files(packages("delta")))
    package, base = read_package(folder / "cat" / "1.0.0")
    assert base is not None
    assert base.digest == packages()[0].digest
    assert network_of(package, base).output == "score"


def test_a_package_may_lie_alone(tmp_path: Path) -> None:
    whole = packages("standalone")[1]
    fsops.write_folder(tmp_path / "somewhere", whole.files)
    package, base = read_package(tmp_path / "somewhere")
    assert package.files == whole.files
    assert base is None


def test_every_problem_of_every_package_is_told_with_its_place(collection: Path) -> None:
    fsops.replace_file(collection / "cat" / "1.0.0" / "README.md", b"# Something else, and longer")
    fsops.remove(collection / "dog" / "1.0.0" / "delta.safetensors")
    with pytest.raises(InvalidPackage) as caught:
        read_collection(collection)
    size = len(packages()[1].read("README.md"))
    assert [str(problem) for problem in caught.value.problems] == [
        f"cat/1.0.0/README.md: is 28 bytes long, the manifest says {size}",
        "dog/1.0.0/delta.safetensors: is named by the manifest but missing",
    ]


def test_a_broken_base_is_a_problem_of_its_modules_too(collection: Path) -> None:
    fsops.remove(collection / "base" / "1.0.0" / "sites.json")
    with pytest.raises(InvalidPackage) as caught:
        read_collection(collection)
    told = [str(problem) for problem in caught.value.problems]
    assert told[0] == "base/1.0.0/sites.json: is named by the manifest but missing"
    assert len(told) == 4
    assert all("its base ./base ==1.0.0 is not in the collection, or invalid" in line for line in told[1:])


def test_an_index_that_lists_another_manifest_is_told(collection: Path) -> None:
    index = json.loads((collection / "modhub.json").read_bytes())
    index["releases"][2]["manifest"]["sha256"] = "0" * 64
    fsops.replace_file(collection / "modhub.json", json.dumps(index).encode())
    with pytest.raises(InvalidPackage, match=r"modhub.json: releases: lists cat 1.0.0 with the manifest 0{64}, it is"):
        read_collection(collection)


def test_a_missing_release_is_told(collection: Path) -> None:
    folder = collection / "cat" / "1.0.0"
    for name in fsops.list_folder(folder):
        fsops.remove(folder / name)
    with pytest.raises(InvalidPackage, match=r"cat/1.0.0: there is no package in"):
        read_collection(collection)


def test_a_link_is_no_file(collection: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    card = collection / "cat" / "1.0.0" / "README.md"
    fsops.remove(card)
    card.symlink_to(secret)
    with pytest.raises(FormatError, match=r"README.md"):
        read_package(collection / "cat" / "1.0.0")


def test_a_file_is_read_no_further_than_announced(collection: Path) -> None:
    weights = collection / "cat" / "1.0.0" / "weights.safetensors"
    with weights.open("ab") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(FormatError, match=r"weights.safetensors"):
        read_package(collection / "cat" / "1.0.0")


def test_where_nothing_is_nothing_is_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"it holds no modhub.json"):
        read_collection(tmp_path)
    with pytest.raises(NotFound, match=r"it holds no module.json"):
        read_package(tmp_path)
