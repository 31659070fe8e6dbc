"""Modules in eight bits: what they are worth, how they travel, and what they may stand beside."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from modhub import flow
from modhub.composer.compose import compose
from modhub.composer.part import Part
from modhub.datasets import Dataset
from modhub.engines.golden import replay
from modhub.engines.quantise import quantised
from modhub.engines.runtime import Session
from modhub.errors import ComposeError, DecomposeError, FormatError, InvalidData, InvalidPackage, UnsupportedOperator
from modhub.network.network import Network
from modhub.package.int8 import INT8, INT8_FILES, INT8_GOLDEN, INT8_GRAPH, INT8_WEIGHTS, read_int8
from modhub.package.materialise import network_of
from modhub.package.pack import Release, pack
from modhub.package.safetensors_reader import read_header
from modhub.package.verify import verify
from tests.support.optimised import optimised_nodes
from tests.support.samples import CLASSES, resealed, small_decomposition, small_network

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.package.package import Package

RELEASE = Release(labels=CLASSES, license="MIT", forms=("delta", INT8))


@functools.cache
def images() -> Dataset:
    """Return random images, labelled by the parent itself."""
    x = np.random.default_rng(0).random((160, 3, 8, 8), dtype=np.float32)
    return Dataset.of(x, y=Session(small_network()).run(x).argmax(axis=1), classes=CLASSES, name="images")


@functools.cache
def rounded() -> tuple[Package, ...]:
    """Return the base and the three modules, each as a delta and in eight bits."""
    return flow.pack(small_decomposition(), RELEASE, samples=images(), validation=images())


def fetched(package: Package) -> Package:
    """Return a module as it is after only its form of eight bits was fetched."""
    wanted = {name: package.read(name) for name in ("module.json", *INT8_FILES)}
    return verify(wanted, form=INT8)


def part(package: Package) -> Part:
    """Return a module in eight bits, ready to compose."""
    return Part(reference=f"acme/pets/{package.name}", package=fetched(package))


def delta(package: Package) -> Part:
    """Return a module as a delta, ready to compose."""
    return Part(reference=f"acme/pets/{package.name}", package=package, base=rounded()[0])


def test_a_module_carries_eight_bits_beside_its_masks() -> None:
    for package in rounded()[1:]:
        assert set(package.manifest.forms) == {"delta", INT8}
        assert {file.path for file in package.manifest.forms[INT8]} == set(INT8_FILES)
        header = read_header(package.read(INT8_WEIGHTS))
        assert {entry.dtype for entry in header.entries.values()} == {"F32", "I8"}
        assert verify(package.files, base=rounded()[0]).name == package.name
        known = package.manifest.metrics
        assert {"int8_f1", "int8_precision", "int8_recall", "int8_calibration_error"} <= set(known)
        assert known["int8_calibration_error"].value < 0.2


def test_it_needs_no_base_and_scores_about_what_the_module_scores() -> None:
    x = np.random.default_rng(1).random((64, 3, 8, 8), dtype=np.float32)
    for package, module in zip(rounded()[1:], small_decomposition().modules, strict=True):
        found = Session(network_of(fetched(package))).run(x)[:, 0]
        exact = Session(network_of(package, rounded()[0])).run(x)[:, 0]
        # Random masks leave little that tells images apart, and rounding takes some of it.
        assert np.corrcoef(found, exact)[0, 1] > 0.6, module.label
        assert not np.array_equal(found, exact)


def test_packing_twice_gives_equal_bytes() -> None:
    again = flow.pack(small_decomposition(), RELEASE, samples=images(), validation=images())
    assert [dict(package.files) for package in again] == [dict(package.files) for package in rounded()]


def test_the_golden_pair_is_run_again_by_whoever_checks(tmp_path: Path) -> None:
    folder = flow.write_collection(rounded(), tmp_path / "pets")
    assert len(flow.check(folder)) == 4
    package = rounded()[1]
    other = {INT8_GOLDEN: rounded()[2].read(INT8_GOLDEN)}
    swapped = verify(resealed(package, other))
    with pytest.raises(ComposeError, match=r"cat 1.0.0 scores .* differently than recorded"):
        replay(swapped, read_int8(swapped), file=INT8_GOLDEN)


def test_a_composite_of_eight_bits_is_its_modules_bit_for_bit_and_says_so() -> None:
    composite = compose([part(package) for package in rounded()[1:]])
    x = np.random.default_rng(1).random((16, 3, 8, 8), dtype=np.float32)
    alone = [Session(network_of(fetched(package))).run(x) for package in rounded()[1:]]
    assert np.array_equal(Session(composite.network).run(x), np.concatenate(alone, axis=1))
    method = verify(composite.package.files).manifest.method
    assert method is not None
    assert method.parameters["precision"] == INT8
    again = Part(reference="acme/pets/all", package=composite.package)
    assert again.precision == INT8


def test_what_modules_share_is_rounded_alike_and_runs_once() -> None:
    decomposition = small_decomposition()
    whole = dataclasses.replace(
        decomposition,
        modules=tuple(dataclasses.replace(module, kept={}, affine={}) for module in decomposition.modules),
    )
    packages = flow.pack(whole, RELEASE, samples=images(), validation=images())
    composite = compose([part(package) for package in packages[1:]])
    convolutions = sum(node.op == "Conv" for node in small_network().nodes)
    assert sum(node.op == "Conv" for node in composite.network.nodes) == convolutions
    nodes = optimised_nodes(composite.network)
    assert nodes["Conv"] + nodes["QLinearConv"] + nodes["FusedConv"] == convolutions


def test_one_precision_per_parent() -> None:
    cat, dog = rounded()[1:3]
    expected = (
        "modules of one parent are composed in one precision: "
        "acme/pets/cat 1.0.0 is int8, acme/pets/dog 1.0.0 is float32"
    )
    with pytest.raises(ComposeError, match=expected):
        compose([part(cat), delta(dog)])
    assert compose([delta(cat), delta(dog)]).package.manifest.method


def test_eight_bits_are_not_trained_on() -> None:
    with pytest.raises(UnsupportedOperator, match="quantizeLinear node"):
        flow.to_torch(network_of(fetched(rounded()[1])))


def test_a_union_wants_the_masks() -> None:
    with pytest.raises(ComposeError, match=r"acme/pets/cat 1.0.0 travels without its masks"):
        compose([part(package) for package in rounded()[1:]], strategy="union")


def test_the_form_takes_samples_and_stands_beside_another() -> None:
    with pytest.raises(DecomposeError, match="the form 'int8' and samples to quantise on go together"):
        flow.pack(small_decomposition(), RELEASE)
    with pytest.raises(DecomposeError, match="the form 'int8' and samples to quantise on go together"):
        flow.pack(small_decomposition(), Release(labels=CLASSES), samples=images(), validation=images())
    only = dataclasses.replace(RELEASE, forms=(INT8,))
    with pytest.raises(DecomposeError, match="the form 'int8' comes beside another one"):
        flow.pack(small_decomposition(), only, samples=images(), validation=images())
    unlabelled = dataclasses.replace(images(), y=None)
    with pytest.raises(InvalidData, match="labelled ones to calibrate on"):
        flow.pack(small_decomposition(), RELEASE, samples=images(), validation=unlabelled)


def test_a_graph_in_eight_bits_is_read_strictly() -> None:
    package = rounded()[1]
    # The length in front keeps it from being found inside another operator's name.
    broken = {INT8_GRAPH: package.read(INT8_GRAPH).replace(b"\x0eQuantizeLinear", b"\x0eQuantizeLinoar", 1)}
    with pytest.raises(InvalidPackage, match=rf"{INT8_GRAPH}.*QuantizeLinoar.*not allowed in packages"):
        verify(resealed(package, broken))
    without = {name: data for name, data in package.files.items() if name != INT8_WEIGHTS}
    with pytest.raises(InvalidPackage, match=f"{INT8_WEIGHTS}: is named by the manifest but missing"):
        verify(without)
    lacking = dataclasses.replace(package, files={**without})
    with pytest.raises(FormatError, match="is missing"):
        read_int8(lacking)


def test_only_modules_come_in_eight_bits() -> None:
    base = rounded()[0]

    def claim(document: dict[str, dict[str, object]]) -> None:
        document["forms"][INT8] = document["forms"]["standalone"]

    with pytest.raises(InvalidPackage, match=r"forms.int8: only a module has it, beside another form"):
        verify(resealed(base, edit=claim))


def test_a_network_that_cannot_be_rounded_is_told() -> None:
    network = small_network()
    with pytest.raises(DecomposeError, match="ONNX Runtime cannot quantise the network"):
        quantised(network, np.zeros((4, 1, 8, 8), np.float32))
    assert isinstance(quantised(network, images().x[:8]), Network)


def test_floats_alone_are_packed_as_before() -> None:
    release = Release(labels=CLASSES, license="MIT")
    assert [dict(p.files) for p in flow.pack(small_decomposition(), release)] == [
        dict(p.files) for p in pack(small_decomposition(), release)
    ]
