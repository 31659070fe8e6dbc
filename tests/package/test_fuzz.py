"""Damage of any kind ends in a package or in `InvalidPackage`, never in another error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from modhub.errors import InvalidPackage
from modhub.package.materialise import network_of
from modhub.package.verify import verify
from tests.support.samples import delta_file, packages, resealed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.package.package import Package

NUMBERS: tuple[object, ...] = (
    -(2**62),
    -1,
    0,
    1,
    2,
    3,
    4,
    7,
    22,
    25,
    2**31,
    2**53 - 1,
    0.5,
    True,
    None,
    "array0",
    "relu1",
    "",
    [],
    {},
)


def verified(files: Mapping[str, bytes], base: Package | None = None) -> Package | None:
    """Return the package, or None where it is refused."""
    try:
        return verify(files, base=base)
    except InvalidPackage:
        return None


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Return some bytes with a few of them changed, put in, taken out or repeated."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(changed)))
        end = min(len(changed), start + draw(st.sampled_from((0, 1, 1, 1, 4, 50))))
        changed[start:end] = draw(st.sampled_from((b"", bytes(changed[start:end]) * 2)) | st.binary(max_size=4))
    return bytes(changed)


def places(node: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a document."""
    children: list[tuple[Any, Any]] = []
    if isinstance(node, dict):
        children = list(node.items())
    elif isinstance(node, list):
        children = list(enumerate(node))
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


def with_values(data: bytes, changes: list[tuple[int, object]]) -> bytes:
    """Return a JSON document with the values at some places replaced."""
    document = json.loads(data)
    for number, value in changes:
        found = places(document)
        *path, last = found[1 + number % (len(found) - 1)] if len(found) > 1 else (None,)
        node: Any = document
        for key in path:
            node = node[key]
        if len(found) > 1:
            node[last] = value
    return json.dumps(document).encode()


changes = st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from(NUMBERS)), min_size=1, max_size=3)


@settings(max_examples=300)
@given(data=st.data(), name=st.sampled_from(("model.onnx", "weights.safetensors", "delta.safetensors")))
def test_damaged_bytes_of_a_module(data: st.DataObject, name: str) -> None:
    base, package, *_ = packages()
    files = resealed(package, {name: data.draw(damaged(package.read(name)))})
    verified(files, base)


@settings(max_examples=300)
@given(changes=changes, name=st.sampled_from(("module.json", "sites.json")))
def test_other_values_in_a_base_and_a_module_cut_out_of_it(changes: list[tuple[int, object]], name: str) -> None:
    base, package = packages("delta")[:2]
    changed = with_values(base.read(name), changes)
    files = resealed(base, {name: changed}) if name == "sites.json" else {**base.contents(), name: changed}
    accepted = verified(files)
    if accepted is not None:
        digest = accepted.digest
        module = resealed(package, edit=lambda document: document["dependencies"][0].update(sha256=digest))
        delta = verified(module, accepted)
        if delta is not None:
            assert network_of(delta, accepted).output_shape == ("batch", 1)


@settings(max_examples=200)
@given(changes=changes)
def test_other_values_in_the_manifest_of_a_module(changes: list[tuple[int, object]]) -> None:
    base, package, *_ = packages()
    verified({**package.contents(), "module.json": with_values(package.read("module.json"), changes)}, base)


@settings(max_examples=200)
@given(
    name=st.sampled_from(sorted(load(packages()[1].read("delta.safetensors")))),
    values=st.lists(st.sampled_from((0, 1, 2, 3, 4, 2**31)), max_size=6),
    dtype=st.sampled_from((np.uint32, np.float32, np.uint8, np.int64)),
)
def test_other_arrays_in_a_delta(name: str, values: list[int], dtype: type[np.generic]) -> None:
    base, package = packages("delta")[:2]
    arrays = {**load(package.read("delta.safetensors")), name: np.array(values, dtype=np.int64).astype(dtype)}
    verified(resealed(package, {"delta.safetensors": delta_file(arrays)}), base)
