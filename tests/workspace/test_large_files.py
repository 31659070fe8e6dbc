"""Packages with files too large to hold: published, fetched, looked into and used as small ones are."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from modhub import flow
from modhub.errors import IntegrityError, InvalidPackage
from modhub.fsops import LARGE_BYTES, LocalFile
from modhub.package.folder import read_collection
from modhub.package.materialise import network_of
from modhub.package.pack import record, seal
from modhub.package.package import Package
from modhub.spec.digests import FileRecord
from modhub.workspace import Workspace
from modhub.workspace.parts import parts_of_folder
from tests.faults.peak import make
from tests.support.networks import inputs_for
from tests.support.runs import run_plainly

if TYPE_CHECKING:
    from pathlib import Path


WEIGHTS = "weights.safetensors"


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large") / "pets"
    make(LARGE_BYTES + (1 << 20), folder)
    return folder


def scores(packages: dict[str, Package]) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Return what some modules of a base say of a few inputs."""
    base = packages["base"]
    networks = {name: network_of(package, base) for name, package in packages.items() if name != "base"}
    return {name: run_plainly(network, inputs_for(network)) for name, network in networks.items()}


def test_a_large_base_stays_on_the_disk_and_its_modules_score_as_ever(pets: Path, tmp_path: Path) -> None:
    packages = {package.name: package for package in flow.check(pets)}
    assert isinstance(packages["base"].files[WEIGHTS], LocalFile)
    assert packages["base"].data(WEIGHTS) == (pets / "base" / "1.0.0" / WEIGHTS).read_bytes()
    registry = str(tmp_path / "registry")
    flow.publish(list(packages.values()), to=registry, collection="acme/pets", store=tmp_path / "store")
    workspace = Workspace.open([registry], store=tmp_path / "store")
    lock = workspace.resolve(["acme/pets/cat", "acme/pets/dog"])
    fetched = {name.rpartition("/")[2]: package for name, package in workspace.install(lock).items()}
    assert isinstance(fetched["base"].files[WEIGHTS], LocalFile)
    expected = scores(packages)
    for name, found in scores(fetched).items():
        np.testing.assert_array_equal(found, expected[name])
    both = flow.compose(flow.gather(["acme/pets/cat", "acme/pets/dog"], workspace=workspace)[0])
    found = run_plainly(both.network, inputs_for(both.network))
    np.testing.assert_array_equal(found, np.hstack([expected["cat"], expected["dog"]]))


def test_a_file_that_is_changed_after_it_was_looked_into_is_not_used(pets: Path, tmp_path: Path) -> None:
    copy = flow.write_collection(read_collection(pets), tmp_path / "pets")
    base = next(package for package in flow.check(copy) if package.name == "base")
    path = copy / "base" / "1.0.0" / WEIGHTS
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="was changed while it was read"):
        base.data(WEIGHTS)


def bit(data: bytearray) -> None:
    """Turn one bit over."""
    data[-1] ^= 1


def cut(data: bytearray) -> None:
    """Cut the end off."""
    del data[-4:]


def longer(data: bytearray) -> None:
    """Add something."""
    data += b"1234"


@pytest.mark.parametrize(
    ("damage", "problem"),
    [(bit, "has sha256"), (cut, "bytes long, the manifest says"), (longer, "holds more than the limit")],
)
def test_a_damaged_large_file_is_told_like_a_small_one(
    pets: Path, tmp_path: Path, damage: object, problem: str
) -> None:
    copy = flow.write_collection(read_collection(pets), tmp_path / "pets")
    path = copy / "base" / "1.0.0" / WEIGHTS
    data = bytearray(path.read_bytes())
    assert callable(damage)
    damage(data)
    path.write_bytes(data)
    with pytest.raises(InvalidPackage, match=problem):
        parts_of_folder(copy)


def test_a_number_that_is_none_is_found_deep_in_a_large_file(pets: Path, tmp_path: Path) -> None:
    base = next(package for package in read_collection(pets) if package.name == "base")
    files = base.contents()
    weights = bytearray(files[WEIGHTS])
    weights[-4:] = np.float32("nan").tobytes()
    files[WEIGHTS] = bytes(weights)
    del files["module.json"], files["README.md"]
    forms = {"standalone": tuple(record(path, data) for path, data in sorted(files.items()))}
    flow.write_package(seal(dataclasses.replace(base.manifest, forms=forms), files), tmp_path / "base")
    with pytest.raises(InvalidPackage, match="holds NaN or infinity"):
        flow.check(tmp_path / "base")


@pytest.mark.parametrize("name", ["model.onnx", "sites.json"])
def test_what_would_be_taken_into_memory_is_refused_by_its_size_alone(pets: Path, tmp_path: Path, name: str) -> None:
    base = next(package for package in read_collection(pets) if package.name == "base")
    huge = FileRecord(path=name, size=1 << 34, sha256="0" * 64)
    records = tuple(huge if file.path == name else file for file in base.manifest.forms["standalone"])
    manifest = dataclasses.replace(base.manifest, forms={"standalone": records})
    files = {**base.contents(), "module.json": manifest.to_json()}
    flow.write_package(Package(manifest=manifest, files=files), tmp_path / "base")
    with (tmp_path / "base" / name).open("wb") as file:
        file.truncate(1 << 34)  # Of holes, so that no disk is filled.
    with pytest.raises(InvalidPackage, match="is 17179869184 bytes long, at most"):
        flow.check(tmp_path / "base")
