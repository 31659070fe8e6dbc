"""The golden pair: made in every composite, and found out where it is not reproduced."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import load, save

from modhub.composer.golden import check_golden
from modhub.composer.join import join
from modhub.engines.golden import golden_input, replay
from modhub.errors import ComposeError, FormatError
from modhub.package.materialise import network_of
from modhub.package.package import Package
from modhub.spec.ports import InputPort
from tests.support.samples import composite, parts, small_network

if TYPE_CHECKING:
    from modhub.network.network import Network

TOKENS = InputPort(name="tokens", kind="tokens", dtype="int64", shape=("batch", "length"), vocabulary=50)


def with_golden(**arrays: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Package:
    """Return the composite with another golden pair."""
    package = composite()
    return Package(manifest=package.manifest, files={**package.files, "golden.safetensors": save(arrays)})


def louder(network: Network) -> Network:
    """Return a network whose last bias is larger by one."""
    name = network.nodes[-1].inputs[1]
    return network.replace(arrays={**network.arrays, name: network.arrays[name] + np.float32(1)})


def test_a_composite_reproduces_its_golden_pair() -> None:
    replay(composite(), network_of(composite()))


def test_the_golden_pair_is_the_fixed_input_with_its_scores() -> None:
    pair = load(composite().read("golden.safetensors"))
    assert np.array_equal(pair["input"], golden_input(small_network().input))
    assert pair["scores"].shape == (4, 3)


def test_a_composite_that_scores_differently_than_its_modules_is_refused() -> None:
    cat, dog = [network_of(part.package, part.base) for part in parts()[:2]]
    joined = join([("a", cat), ("b", dog)])
    with pytest.raises(ComposeError, match="dog scores 1 differently inside the composite than alone"):
        check_golden([cat, louder(dog)], joined, labels=["cat", "dog"])


def test_other_scores_than_recorded_are_told() -> None:
    pair = load(composite().read("golden.safetensors"))
    with pytest.raises(ComposeError, match=r"composite 1.0.0 scores 2 differently than recorded"):
        replay(with_golden(input=pair["input"], scores=pair["scores"] + 2), network_of(composite()))


def test_a_missing_or_foreign_pair_is_told() -> None:
    network, package = network_of(composite()), composite()
    bare = {name: data for name, data in package.files.items() if name != "golden.safetensors"}
    with pytest.raises(FormatError, match=r"golden.safetensors: is missing"):
        replay(Package(manifest=package.manifest, files=bare), network)
    with pytest.raises(FormatError, match=r"expected the arrays 'input' and 'scores', got \['x'\]"):
        replay(with_golden(x=np.zeros(1, np.float32)), network)
    x = golden_input(network.input)
    with pytest.raises(FormatError, match=r"holds scores of shape \[4, 2\], the network gives \[4, 3\]"):
        replay(with_golden(input=x, scores=np.zeros((4, 2), np.float32)), network)


def test_golden_tokens_are_numbers_of_the_vocabulary() -> None:
    tokens = golden_input(TOKENS)
    assert tokens.dtype == np.int64
    assert tokens.shape == (4, 8)
    assert 0 <= tokens.min() <= tokens.max() < 50
    assert golden_input(dataclasses.replace(TOKENS, vocabulary=None)).max() == 1
