"""Packages that were written once are read for ever, with the same scores."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load

from modhub.engines.golden import replay
from modhub.engines.runtime import Session
from modhub.package.folder import read_collection, read_package
from modhub.package.materialise import network_of
from tests.support.golden import EXPECTED, FOLDER, GOLDEN, MASKS


def test_the_golden_collection_is_valid() -> None:
    assert [package.name for package in read_collection(GOLDEN)] == ["base", "cat-and-dog", "cat", "dog"]


@pytest.mark.parametrize("name", ["cat", "dog"])
def test_a_golden_module_scores_as_it_did_then(name: str) -> None:
    package, base = read_package(GOLDEN / name / "1.0.0")
    expected = load((GOLDEN / EXPECTED).read_bytes())
    scores = Session(network_of(package, base)).run(expected["input"])
    np.testing.assert_allclose(scores, expected[name], rtol=0, atol=1e-5)


def test_the_golden_composite_reproduces_its_golden_pair() -> None:
    package, _ = read_package(GOLDEN / "cat-and-dog" / "1.0.0")
    replay(package, network_of(package))


@pytest.mark.parametrize("kind", MASKS)
def test_golden_weight_masks_score_as_they_did_then(kind: str) -> None:
    folder = FOLDER / f"format-1-{kind}"
    assert [package.name for package in read_collection(folder)] == ["base", "class-0", "class-1"]
    expected = load((folder / EXPECTED).read_bytes())
    for name in ("class-0", "class-1"):
        package, base = read_package(folder / name / "1.0.0")
        scores = Session(network_of(package, base)).run(expected["input"])
        np.testing.assert_allclose(scores, expected[name], rtol=0, atol=1e-5)
