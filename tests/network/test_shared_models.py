"""Real trained classifiers: all of them load, compute the same, and are cut exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from modhub.network.load import load
from modhub.network.sites import find_sites
from modhub.network.slice import masked, sliced
from modhub.network.trunk import NO_CUT
from tests.support.modules import random_module
from tests.support.networks import inputs_for
from tests.support.onnx_graphs import run_model
from tests.support.runs import run_plainly
from tests.support.shared import ABSENT, shared_models

if TYPE_CHECKING:
    from pathlib import Path

MODELS = shared_models()


@pytest.mark.skipif(not MODELS, reason=ABSENT)
@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_shared_model_is_cut_exactly(path: Path) -> None:
    network = load(path)
    x = inputs_for(network, batch=4)
    np.testing.assert_allclose(run_plainly(network, x), run_model(path.read_bytes(), x), atol=1e-3)
    sites = find_sites(network)
    assert all(site in sites.after(network, NO_CUT) for site in sites.sites[:-1])
    module = random_module(network, sites, row=1, seed=2)
    small, oracle = run_plainly(sliced(network, sites, module), x), run_plainly(masked(network, sites, module), x)
    np.testing.assert_allclose(small, oracle, atol=1e-5 * max(1.0, float(np.abs(oracle).max())))
