"""`sites.json`: runs, and the way to a file and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modhub.errors import FormatError
from modhub.network.shapes import infer_shapes
from modhub.network.sites import find_sites
from modhub.package.sites_check import check_sites
from modhub.package.sites_file import RunReader, sites_from_json, sites_to_json, to_runs
from modhub.spec import limits
from tests.support.networks import networks, perceptrons

if TYPE_CHECKING:
    from modhub.network.network import Network


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_runs_stand_for_the_channels_they_were_made_of(channels: list[int]) -> None:
    numbers = np.array(channels, dtype=np.int64)
    assert RunReader(total=31)(to_runs(numbers)).tolist() == channels


def test_runs_are_short_where_channels_are_regular() -> None:
    flattened = np.repeat(np.arange(10, 522), 49)
    assert to_runs(flattened) == [[10, 512, 49]]
    assert to_runs(np.arange(7)) == [[0, 7, 1]]


def test_positions_are_counted_over_the_whole_document() -> None:
    runs = RunReader(total=1)
    half = limits.SITE_POSITIONS // 2
    assert len(runs([[0, 1, half]])) == half
    assert len(runs([[0, 1, half]])) == half
    with pytest.raises(FormatError, match="describes more than"):
        runs([[0, 1, 1]])


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(networks() | perceptrons())
def test_sites_survive_the_way_through_a_file(network: Network) -> None:
    sites = find_sites(network)
    data = sites_to_json(sites)
    read = sites_from_json(data)
    assert sites_to_json(read) == data
    assert read.sites == sites.sites
    check_sites(read, network, shapes=infer_shapes(network))
