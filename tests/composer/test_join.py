"""Joining keeps every score, bit for bit, and runs what is shared once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modhub.composer.join import join
from modhub.errors import ComposeError
from modhub.network.slice import sliced
from modhub.network.trunk import cut_points, trunk_of
from tests.support.modules import random_decomposition
from tests.support.networks import Builder, inputs_for, networks
from tests.support.runs import run_plainly

if TYPE_CHECKING:
    from modhub.network.network import Network


def parts_of(network: Network, *, cut: str = "", seed: int = 0) -> list[tuple[str, Network]]:
    split = random_decomposition(network, cut=cut, seed=seed)
    return [(f"m{i}", sliced(network, split.sites, module)) for i, module in enumerate(split.modules)]


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(network=networks(), seed=st.integers(0, 1000), at=st.integers(0, 3))
def test_a_composite_scores_what_its_modules_score_alone_bit_for_bit(network: Network, seed: int, at: int) -> None:
    points = ("", *(point.value for point in cut_points(network)))
    parts = parts_of(network, cut=points[at % len(points)], seed=seed)
    joined = join(parts)
    x = inputs_for(network, seed=seed)
    alone = np.concatenate([run_plainly(part, x) for _, part in parts], axis=1)
    assert np.array_equal(run_plainly(joined, x), alone)


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(network=networks(), seed=st.integers(0, 1000))
def test_the_trunk_appears_once(network: Network, seed: int) -> None:
    for point in cut_points(network)[-1:]:
        parts = parts_of(network, cut=point.value, seed=seed)
        trunk = len(trunk_of(network, point.value).nodes)
        joined = join(parts)
        assert len(joined.nodes) <= sum(len(part.nodes) - trunk for _, part in parts) + trunk + 1


def test_equal_arrays_are_stored_once() -> None:
    builder = Builder(shape=(6,))
    network = builder.build(builder.gemm(builder.relu(builder.gemm(builder.input, 5)), 3))
    joined = join([("a", network), ("b", network)])
    assert len(joined.arrays) == len(network.arrays)
    assert joined.output_shape == ("batch", 6)


def test_nothing_cannot_be_joined() -> None:
    with pytest.raises(ComposeError, match="nothing to compose"):
        join([])


def test_different_inputs_cannot_be_joined() -> None:
    networks_of = [Builder(shape=(size,)) for size in (6, 7)]
    first, second = (builder.build(builder.gemm(builder.input, 2)) for builder in networks_of)
    with pytest.raises(ComposeError, match="share no input"):
        join([("a", first), ("b", second)])
