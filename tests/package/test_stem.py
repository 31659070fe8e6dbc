"""Weight masks on their way: gaps, stems, and bases that ship no weight which nobody uses."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from modhub import flow
from modhub.errors import DecomposeError, FormatError, InvalidPackage
from modhub.network.modules import ClassModule, Decomposition
from modhub.network.onnx_file import WEIGHTS_FILE, to_onnx
from modhub.network.slice import sliced
from modhub.package.delta import DELTA_FILE, from_delta, to_delta
from modhub.package.gaps import LONGEST, from_gaps, to_gaps
from modhub.package.materialise import network_of, open_base, open_module, read_stem, weights_of
from modhub.package.pack import Release, pack
from modhub.package.stem import (
    STEM_FILE,
    VALUES_FILE,
    Stem,
    common_weights,
    from_stem,
    pruned,
    to_stem,
    to_values,
    to_weights,
)
from modhub.package.verify import verify
from tests.support.architectures import convolutional, recurrent, transformers
from tests.support.networks import Builder
from tests.support.samples import resealed
from tests.support.weight_masks import masked_weights

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.network.network import Network
    from modhub.package.package import Package


def large_network() -> Network:
    """Return a perceptron whose masks are worth a stem."""
    builder = Builder(shape=(30,))
    return builder.build(builder.gemm(builder.relu(builder.gemm(builder.input, 40)), 5))


def packed(*forms: str, apart: float = 0.02) -> tuple[Package, ...]:
    """Return the packages of a perceptron's modules."""
    return pack(masked_weights(large_network(), apart=apart, modules=5), Release(forms=forms or ("delta",)))


@given(st.lists(st.booleans(), max_size=60))
def test_gaps_stand_for_flags(flags: list[bool]) -> None:
    given_flags = np.array(flags, dtype=np.bool_)
    np.testing.assert_array_equal(from_gaps(to_gaps(given_flags), size=len(flags)), given_flags)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 3_000_000), min_size=1, max_size=8, unique=True))
def test_gaps_may_be_long(places: list[int]) -> None:
    flags = np.zeros(3_000_001, dtype=np.bool_)
    flags[places] = True
    np.testing.assert_array_equal(from_gaps(to_gaps(flags), size=len(flags)), flags)


def test_a_gap_is_written_in_base_128() -> None:
    flags = np.zeros(1000, dtype=np.bool_)
    flags[[0, 1, 130, 999]] = True
    assert to_gaps(flags).tolist() == [0, 0, 0x80, 0x01, 0x80 | (868 & 0x7F), 868 >> 7]


@given(st.binary(max_size=12), st.integers(0, 500))
def test_bytes_that_are_read_as_gaps_are_those_that_are_written(data: bytes, size: int) -> None:
    try:
        flags = from_gaps(np.frombuffer(data, dtype=np.uint8), size=size)
    except FormatError:
        return
    assert to_gaps(flags).tobytes() == data


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ([0x80], "ends in the middle of a gap"),
        ([3, 0x85], "ends in the middle of a gap"),
        ([0x85, 0x00], "longer than it must be"),
        ([0x80] * LONGEST + [1], "longer than it must be"),
        ([10], "sets the flag 10 of 10"),
        ([0x80, 0x80, 0x80, 0x80, 0x01], "sets the flag 268435456 of 10"),
    ],
)
def test_gaps_that_mean_nothing_are_refused(data: list[int], problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        from_gaps(np.array(data, dtype=np.uint8), size=10)


def test_modules_tell_only_how_they_differ() -> None:
    base, *modules = packed()
    assert STEM_FILE in base.files
    for module in modules:
        arrays = load(module.read(DELTA_FILE))
        assert {name.partition("/")[0] for name in arrays} == {"xor"}
        assert sum(array.nbytes for array in arrays.values()) < 0.3 * (30 * 40 + 40 * 5) / 8


def test_a_mask_that_has_little_in_common_travels_as_bits() -> None:
    base, *modules = packed(apart=0.5)
    assert STEM_FILE not in base.files
    assert all(name.startswith("bits/") for name in load(modules[0].read(DELTA_FILE)))


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    network=convolutional() | transformers() | recurrent(),
    seed=st.integers(0, 1000),
    apart=st.sampled_from((0.0, 0.01, 0.2)),
    form=st.sampled_from(("delta", "values")),
)
def test_every_kind_of_network_travels_as_weight_masks(network: Network, seed: int, apart: float, form: str) -> None:
    split = masked_weights(network, seed=seed, apart=apart)
    first, *modules = pack(split, Release(forms=(form,)))
    base = verify(first.files)
    for package, module in zip(modules, split.modules, strict=True):
        read = verify(package.files, base=base)
        assert to_onnx(network_of(read, base)) == to_onnx(sliced(network, split.sites, module))
        _, _, found = open_module(read, base)
        for name, flags in module.weights.items():
            np.testing.assert_array_equal(found.weights.get(name, np.ones_like(flags)), flags)


def test_values_and_standalone_give_the_same_network() -> None:
    base, *modules = packed("values", "standalone")
    for module in modules:
        assert set(module.manifest.forms) == {"delta", "standalone"}
        verify(module.files, base=verify(base.files))


def test_a_base_of_values_ships_no_weight_that_nobody_uses() -> None:
    split = masked_weights(large_network(), modules=5)
    common = common_weights(split.parent, split.modules)
    base, *modules = pack(split, Release(forms=("values",)))
    assert set(base.manifest.forms) == {"values"}
    assert WEIGHTS_FILE not in base.files
    kept = load(base.read(VALUES_FILE))
    for name, flags in common.items():
        np.testing.assert_array_equal(kept[f"kept/{name}"], split.parent.arrays[name][flags])
    for package, module in zip(modules, split.modules, strict=True):
        own = load(package.read(DELTA_FILE))
        private = sum((module.weights[name] & ~flags).sum() for name, flags in common.items())
        assert sum(array.size for name, array in own.items() if name.startswith("values/")) == private
    dense = sum(package.size for package in packed())
    assert sum(package.size for package in (base, *modules)) < dense


def test_weights_are_made_of_stem_and_values_byte_for_byte() -> None:
    split = masked_weights(large_network(), modules=5)
    flags = common_weights(split.parent, split.modules)
    network = pruned(split.parent, flags)
    stem = from_stem(to_stem(flags), is_pruned=True)
    assert to_weights(to_values(network, flags), stem) == to_onnx(network)[1]
    base = pack(split, Release(forms=("values",)))[0]
    assert weights_of(base) == to_onnx(open_base(base).network)[1]


def test_a_collection_of_values_is_written_and_read(tmp_path: Path) -> None:
    packages = packed("values")
    flow.write_collection(packages, tmp_path / "masks")
    assert [package.name for package in flow.check(tmp_path / "masks")] == [package.name for package in packages]
    assert flow.load(tmp_path / "masks" / "class-0" / "1.0.0").columns == ("class-0",)
    assert flow.load(tmp_path / "masks" / "base" / "1.0.0").network.parameters == large_network().parameters


def test_another_stem_is_refused() -> None:
    split = masked_weights(large_network(), modules=5)
    stem = read_stem(pack(split, Release())[0])
    data = to_delta(split.parent, split.sites, split.modules[0], base="b", stem=stem)
    read = from_delta(data, split.parent, split.sites, base="b", stem=stem, calibration=None)
    assert all(np.array_equal(flags, read.weights[name]) for name, flags in split.modules[0].weights.items())
    for other in (Stem(), dataclasses.replace(stem, digest="0" * 64)):
        with pytest.raises(FormatError, match="stem: refers to the stem"):
            from_delta(data, split.parent, split.sites, base="b", stem=other, calibration=None)
    with pytest.raises(FormatError, match="was made for the base 'b'"):
        from_delta(data, split.parent, split.sites, base="c", stem=stem, calibration=None)


def test_masks_of_another_base_are_refused() -> None:
    other = pack(masked_weights(large_network(), seed=1, modules=5), Release())[0]
    with pytest.raises(InvalidPackage, match="depends on no package with the manifest"):
        verify(packed()[1].files, base=verify(other.files))


def test_a_release_of_values_needs_masks_over_weights() -> None:
    bare = dataclasses.replace(masked_weights(large_network()), modules=(ClassModule(label="c", row=0),))
    with pytest.raises(DecomposeError, match="no module of this decomposition masks single weights"):
        pack(bare, Release(forms=("values",)))
    with pytest.raises(DecomposeError, match="it replaces 'delta'"):
        packed("delta", "values")


def test_a_module_that_masks_nothing_brings_all_other_weights() -> None:
    split: Decomposition = masked_weights(large_network(), modules=5)
    whole = dataclasses.replace(split, modules=(*split.modules[:4], dataclasses.replace(split.modules[4], weights={})))
    first, *modules = pack(whole, Release(forms=("values",)))
    base = verify(first.files)
    network = network_of(verify(modules[4].files, base=base), base)
    assert to_onnx(network) == to_onnx(sliced(whole.parent, whole.sites, whole.modules[4]))


def test_the_manifest_counts_the_weights_that_are_kept() -> None:
    split = masked_weights(large_network(), modules=5)
    for package, module in zip(pack(split, Release())[1:], split.modules, strict=True):
        nonzero = sum(np.count_nonzero(array) for _, array in sliced(split.parent, split.sites, module).weights())
        # The calibration's scale and offset count as parameters, and one bias may be zero.
        assert package.manifest.metrics["weights_kept"].value * split.parent.parameters == pytest.approx(nonzero, abs=2)


def damaged(package: Package, file: str, **changes: np.ndarray | None) -> dict[str, bytes]:
    """Return a package's files with arrays of one of them replaced or, where None, left out."""
    from modhub.package.safetensors_reader import read_header

    data = package.read(file)
    arrays = {**load(data), **changes}
    metadata = dict(read_header(data).metadata)
    kept = {name: array for name, array in arrays.items() if array is not None}
    return resealed(package, {file: save(kept, metadata=metadata or None)})


HOSTILE_STEMS = {
    "fewer bits": ({"bits/array0": np.zeros(3, np.uint8)}, "holds uint8 [3] for 1200 bits"),
    "bits as floats": ({"bits/array0": np.zeros(150, np.float32)}, "holds float32 [150] for 1200 bits"),
    "an array without a shape": ({"bits/other": np.zeros(3, np.uint8)}, "holds other arrays than it has shapes for"),
    "a shape without an array": ({"bits/array0": None}, "holds other arrays than it has shapes for"),
}


@pytest.mark.parametrize("case", HOSTILE_STEMS)
@pytest.mark.parametrize("form", ["delta", "values"])
def test_hostile_stems_are_refused(case: str, form: str) -> None:
    changes, problem = HOSTILE_STEMS[case]
    with pytest.raises(InvalidPackage) as caught:
        verify(damaged(packed(form)[0], STEM_FILE, **changes))  # type: ignore[arg-type]
    assert problem in str(caught.value)
    assert STEM_FILE in str(caught.value)


HOSTILE_VALUES = {
    "too few": ({"kept/array0": np.zeros(3, np.float32)}, "holds float32 [3] for"),
    "none": ({"kept/array0": None}, "lacks the weights of 'array0'"),
    "whole instead": ({"kept/array0": None, "whole/array0": np.zeros((40, 30), np.float32)}, "has no meaning beside"),
    "another kind": ({"more/array0": np.zeros(3, np.float32)}, "has no meaning beside"),
    "an array that the graph lacks": ({"whole/other": np.zeros(3, np.float32)}, "is not used by the graph"),
    "infinity": ({"whole/array1": np.full(40, np.inf, np.float32)}, "holds NaN or infinity"),
    "other weights": ({"whole/array1": np.ones(40, np.float32)}, "the network's fingerprint is"),
}


@pytest.mark.parametrize("case", HOSTILE_VALUES)
def test_hostile_values_are_refused(case: str) -> None:
    changes, problem = HOSTILE_VALUES[case]
    with pytest.raises(InvalidPackage) as caught:
        verify(damaged(packed("values")[0], VALUES_FILE, **changes))  # type: ignore[arg-type]
    assert problem in str(caught.value)


HOSTILE_DELTAS = {
    "too few values": ("values", {"values/array0": np.zeros(1, np.float32)}, "holds float32 [1] for"),
    "no values": ("values", {"values/array0": None}, "values/array0: is missing"),
    "values of an array without a stem": ("values", {"values/array1": np.zeros(1, np.float32)}, "no meaning beside"),
    "values over a whole base": ("delta", {"values/array0": np.zeros(1, np.float32)}, "to a base that has them all"),
    "two masks": ("delta", {"bits/array0": np.zeros(150, np.uint8)}, "is masked in two ways"),
    "half a gap": ("delta", {"xor/array0": np.array([0x80], np.uint8)}, "ends in the middle of a gap"),
    "a stranger": ("delta", {"xor/other": np.zeros(1, np.uint8)}, "differs from what the stem does not have"),
    "bits of a stranger": ("delta", {"bits/other": np.zeros(1, np.uint8)}, "masks 'other', no array of the base"),
}


@pytest.mark.parametrize("case", HOSTILE_DELTAS)
def test_hostile_masks_are_refused(case: str) -> None:
    form, changes, problem = HOSTILE_DELTAS[case]
    base, module, *_ = packed(form)
    with pytest.raises(InvalidPackage) as caught:
        verify(damaged(module, DELTA_FILE, **changes), base=verify(base.files))  # type: ignore[arg-type]
    assert problem in str(caught.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    form=st.sampled_from(("delta", "values")),
    place=st.floats(0, 1, exclude_max=True),
    byte=st.integers(0, 255),
    which=st.integers(0, 2),
)
def test_damaged_masks_end_in_a_package_or_are_refused(form: str, place: float, byte: int, which: int) -> None:
    base, module, *_ = packed(form)
    file = (STEM_FILE, VALUES_FILE, DELTA_FILE)[which]
    target = module if file == DELTA_FILE else base
    data = bytearray(target.contents().get(file, b""))
    if not data:
        return
    data[int(place * len(data))] = byte
    try:
        if target is module:
            read = verify(base.files)
            network_of(verify(resealed(module, {file: bytes(data)}), base=read), read)
        else:
            verify(resealed(base, {file: bytes(data)}))
    except InvalidPackage:
        return


def test_forms_that_contradict_one_another_are_refused() -> None:
    base = packed("values")[0]

    def both(document: dict[str, dict[str, object]]) -> None:
        document["forms"]["standalone"] = document["forms"]["values"]

    with pytest.raises(InvalidPackage, match="only a base has it, and no other form beside it"):
        verify(resealed(base, edit=both))
    module = packed()[1]

    def values_of_a_module(document: dict[str, dict[str, object]]) -> None:
        document["forms"]["values"] = document["forms"]["delta"]

    with pytest.raises(InvalidPackage, match="only a base has it"):
        verify(resealed(module, edit=values_of_a_module))


def test_equal_modules_pack_to_equal_bytes() -> None:
    for forms in (("delta",), ("values",)):
        first, second = packed(*forms), packed(*forms)
        assert [dict(package.files) for package in first] == [dict(package.files) for package in second]
    assert json.loads(packed("values")[0].read("module.json"))["forms"].keys() == {"values"}
