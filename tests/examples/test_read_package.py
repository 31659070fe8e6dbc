"""The example reader, which shares no code with modhub, scores as modhub does."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modhub import fsops
from modhub.engines.runtime import Session
from modhub.network.trunk import cut_points
from modhub.package.folder import collection_files, read_package
from modhub.package.materialise import network_of
from modhub.package.pack import Release, pack
from tests.package.test_pack import masked_weights
from tests.support.modules import random_decomposition
from tests.support.networks import inputs_for, networks
from tests.support.samples import packages, small_network
from tests.support.weight_masks import masked_weights as weight_masks

if TYPE_CHECKING:
    from types import ModuleType

    from modhub.network.network import Network

EXAMPLE = Path(__file__).parents[2] / "examples" / "read_package.py"


@pytest.fixture(scope="module")
def reader() -> ModuleType:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("read_package", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_scores(reader: Any, collection: Path, network: Network, names: list[str]) -> None:
    """Compare the two readers' scores."""
    x = inputs_for(network)
    for name in names:
        package, base = read_package(collection / name / "1.0.0")
        expected = Session(network_of(package, base)).run(x)
        np.testing.assert_allclose(reader.run_module(collection, name, x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_second_reader_scores_the_same(reader: ModuleType, tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "pets"
    fsops.write_folder(folder, collection_files(packages("delta", seed=seed)))
    check_scores(reader, folder, small_network(), ["cat", "dog", "bird"])


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(network=networks(), seed=st.integers(0, 1000), at=st.integers(0, 3))
def test_the_second_reader_scores_the_same_for_every_network(
    reader: ModuleType, tmp_path_factory: pytest.TempPathFactory, network: Network, seed: int, at: int
) -> None:
    points = ("", *(point.value for point in cut_points(network)))
    split = masked_weights(random_decomposition(network, seed=seed, cut=points[at % len(points)]), seed)
    packed = pack(split, Release())
    folder = tmp_path_factory.mktemp("collections") / "random"
    fsops.write_folder(folder, collection_files(packed))
    check_scores(reader, folder, network, [package.name for package in packed[1:3]])


def test_the_second_reader_runs_as_a_program(tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    fsops.write_folder(folder, collection_files(packages("delta")))
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), str(folder), "cat"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("[[")


@pytest.mark.parametrize("form", ["delta", "values"])
def test_the_second_reader_knows_stems_and_values(reader: ModuleType, tmp_path: Path, form: str) -> None:
    split = weight_masks(small_network(), modules=3)
    fsops.write_folder(tmp_path / "masks", collection_files(pack(split, Release(forms=(form,)))))
    check_scores(reader, tmp_path / "masks", small_network(), ["class-0", "class-1", "class-2"])
