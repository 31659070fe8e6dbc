"""Packing: equal bytes every time, and a delta is its standalone network, byte for byte."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modhub.errors import InvalidName
from modhub.network.modules import ClassModule
from modhub.network.onnx_file import WEIGHTS_FILE, to_onnx
from modhub.network.slice import sliced
from modhub.network.trunk import cut_points
from modhub.package.delta import from_delta, to_delta
from modhub.package.materialise import network_of, open_base
from modhub.package.pack import Release, pack, package_names
from modhub.package.package import GRAPH_FILE, Package
from modhub.package.verify import verify
from tests.support.modules import random_decomposition
from tests.support.networks import networks, perceptrons
from tests.support.samples import CLASSES, packages, small_decomposition, small_network

if TYPE_CHECKING:
    from modhub.network.modules import Decomposition
    from modhub.network.network import Network

BOTH = Release(forms=("delta", "standalone"))
slow_to_draw = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])


def masked_weights(decomposition: Decomposition, seed: int) -> Decomposition:
    """Return the same modules with random bits over their float arrays besides."""
    random = np.random.default_rng(seed)
    arrays = {name: array for name, array in decomposition.parent.arrays.items() if array.dtype.kind == "f"}
    modules = tuple(
        dataclasses.replace(module, weights={name: random.random(a.shape) < 0.5 for name, a in arrays.items()})
        for module in decomposition.modules
    )
    return dataclasses.replace(decomposition, modules=modules)


@slow_to_draw
@given(network=networks() | perceptrons(), seed=st.integers(0, 1000), at=st.integers(0, 3), has_bits=st.booleans())
def test_a_delta_is_its_standalone_network_byte_for_byte(
    network: Network, seed: int, at: int, *, has_bits: bool
) -> None:
    points = ("", *(point.value for point in cut_points(network)))
    decomposition = random_decomposition(network, seed=seed, cut=points[at % len(points)])
    packed = pack(masked_weights(decomposition, seed) if has_bits else decomposition, BOTH)
    base = verify(packed[0].files)
    for package in packed[1:]:
        lone = {name: data for name, data in package.files.items() if name not in (GRAPH_FILE, WEIGHTS_FILE)}
        delta = verify(lone, base=base, form="delta")
        expected = package.read(GRAPH_FILE), package.read(WEIGHTS_FILE)
        assert to_onnx(network_of(delta, base)) == expected
        assert to_onnx(network_of(verify(package.files, base=base))) == expected


@slow_to_draw
@given(network=networks(), seed=st.integers(0, 1000))
def test_packing_twice_gives_equal_bytes(network: Network, seed: int) -> None:
    first, second = (pack(random_decomposition(network, seed=seed), BOTH) for _ in range(2))
    assert [package.files for package in first] == [package.files for package in second]


def test_the_form_a_module_travels_in_does_not_change_its_base() -> None:
    assert packages("delta")[0].files == packages("standalone")[0].files == packages()[0].files


@pytest.mark.parametrize("seed", [0, 1])
def test_a_delta_reads_back_as_the_module_that_was_written(seed: int) -> None:
    decomposition = small_decomposition(seed=seed)
    network, sites = decomposition.parent, decomposition.sites
    module = masked_weights(decomposition, seed).modules[1]
    data = to_delta(network, sites, module, base="b")
    read = from_delta(data, network, sites, base="b", calibration=module.calibration)
    assert to_delta(network, sites, read, base="b") == data
    assert to_onnx(sliced(network, sites, read)) == to_onnx(sliced(network, sites, module))


def test_a_module_that_keeps_everything_needs_no_arrays() -> None:
    decomposition = small_decomposition()
    module = ClassModule(label="cat", row=0, weights={"array0": np.ones((4, 3, 3, 3), dtype=np.bool_)})
    data = to_delta(decomposition.parent, decomposition.sites, module, base="b")
    read = from_delta(data, decomposition.parent, decomposition.sites, base="b", calibration=None)
    assert (read.kept, read.weights, read.affine) == ({}, {}, {})


def test_a_delta_leaves_its_weights_in_the_base() -> None:
    delta, whole = packages("delta")[1], packages("standalone")[1]
    assert "delta.safetensors" in delta.files
    assert "model.onnx" not in delta.files
    assert "delta.safetensors" not in whole.files
    assert [need.package for need in delta.manifest.dependencies] == ["./base"]
    assert whole.manifest.dependencies == ()


def test_the_manifest_says_where_a_module_comes_from_and_what_it_keeps() -> None:
    base, cat, *_ = packages()
    manifest = cat.manifest
    assert (manifest.kind, manifest.name, manifest.provides) == ("module", "cat", ("class:cat",))
    assert manifest.parent == base.manifest.parent
    assert manifest.dependencies[0].sha256 == base.digest
    assert 0 < manifest.metrics["kernels_kept"].value < 1
    assert 0 < manifest.metrics["weights_kept"].value < 1
    assert [label.name for label in base.manifest.classes] == list(CLASSES)


def test_labels_become_package_names() -> None:
    assert package_names(["T-shirt/top", "Ankle boot"]) == ["t-shirt-top", "ankle-boot"]


@pytest.mark.parametrize("labels", [["Cat", "cat"], ["Base"]])
def test_two_packages_never_share_a_name(labels: list[str]) -> None:
    with pytest.raises(InvalidName, match="would both be packaged as"):
        package_names(labels)


def test_a_base_is_read_once_however_many_modules_it_has() -> None:
    base = verify(packages()[0].files)
    assert open_base(base) is open_base(base)
    assert open_base(Package(manifest=base.manifest, files=base.files)) is not open_base(base)


def test_a_base_gives_its_network_back() -> None:
    base = verify(packages()[0].files)
    assert to_onnx(network_of(base)) == to_onnx(small_network())
