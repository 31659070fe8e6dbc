"""Scores fitted to one another: the fit is a minimum, mends what is off, and travels in the package."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modhub.composer.compose import compose
from modhub.composer.refit import fit_jointly, refit, scaled
from modhub.datasets import Dataset
from modhub.engines.golden import replay
from modhub.engines.runtime import Session
from modhub.errors import ComposeError, InvalidData
from modhub.package.materialise import network_of
from modhub.package.verify import verify
from tests.support.networks import inputs_for
from tests.support.samples import CLASSES, parts, small_network


def drawn(seed: int, *, samples: int = 400, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return calibrated scores of random detectors, and the column of each sample; a fifth belongs to none."""
    random = np.random.default_rng(seed)
    columns = random.integers(-1, classes, samples)
    scores = random.normal(size=(samples, classes)) - 1.5 + 3.0 * (columns[:, None] == np.arange(classes))
    return scores, columns


def loss(scores: np.ndarray, columns: np.ndarray) -> float:
    """Return the two cross-entropies together, per sample, computed plainly."""
    is_class = columns[:, None] == np.arange(scores.shape[1])
    own = np.where(is_class, scores, 0).sum(axis=1)
    together = (np.logaddexp.reduce(scores, axis=1) - own)[columns >= 0].sum()
    alone = (np.logaddexp(0, scores).sum(axis=1) - own).sum()
    return float(together + alone) / len(scores)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), scales=st.lists(st.floats(0.05, 20), min_size=3, max_size=3))
def test_the_fit_is_a_minimum_whatever_was_off(seed: int, scales: list[float]) -> None:
    scores, columns = drawn(seed)
    spoiled = scores * scales + np.array([4.0, -3.0, 0.5])
    scale, offset = fit_jointly(spoiled, columns)
    found = loss(spoiled * scale + offset, columns)
    assert found <= loss(spoiled, columns) + 1e-9
    assert found <= loss(scores, columns) + 0.02
    random = np.random.default_rng(seed)
    for _ in range(5):
        nudge = 1 + random.normal(scale=0.1, size=3)
        moved = loss(spoiled * scale * nudge + offset + random.normal(scale=0.1, size=3), columns)
        assert found <= moved + 0.02


def test_spoiled_modules_are_mended_in_the_package() -> None:
    given_parts = parts()
    x = inputs_for(small_network(), batch=240, seed=3)
    truth = Session(small_network()).run(x).argmax(axis=1)
    spoiled = compose(given_parts)
    off = scaled(spoiled.network, np.array([5.0, 0.2, 1.0]), np.array([0.0, 3.0, -2.0]))
    names = tuple(label.name for label in spoiled.package.manifest.classes)
    data = Dataset.of(x, y=truth.astype(np.int64), classes=CLASSES, name="mine")
    mended = refit(off, data, columns=names)
    assert mended.accuracy[1] >= mended.accuracy[0]
    assert mended.error[1] < mended.error[0]


def test_a_calibrated_composite_is_a_package_that_replays() -> None:
    x = inputs_for(small_network(), batch=240, seed=3)
    data = Dataset.of(x, y=np.arange(240) % len(CLASSES), classes=CLASSES, name="mine")
    composite = compose(parts(), calibrate=data)
    package = verify(composite.package.files)
    replay(package, network_of(package))
    assert package.manifest.method is not None
    assert package.manifest.method.parameters["calibrated_on"] == "mine"
    assert {"calibration_error", "accuracy"} <= set(package.manifest.metrics)
    plain, fitted = Session(compose(parts()).network).run(x), Session(composite.network).run(x)
    # Each column is a straight line over the module's own score, and rises with it.
    for column in range(plain.shape[1]):
        slope, start = np.polyfit(plain[:, column], fitted[:, column], 1)
        np.testing.assert_allclose(slope * plain[:, column] + start, fitted[:, column], atol=1e-3)
        assert slope > 0


def test_raw_scores_of_several_parents_can_be_composed_when_they_are_calibrated() -> None:
    own, *_ = parts()
    other = parts(network_seed=5, collection="acme/wild")[1]
    raw = [
        dataclasses.replace(
            part,
            package=dataclasses.replace(
                part.package,
                manifest=dataclasses.replace(
                    part.package.manifest,
                    output=dataclasses.replace(part.package.manifest.output, calibration=None),
                ),
            ),
        )
        for part in (own, other)
    ]
    with pytest.raises(ComposeError, match="calibrate them on data"):
        compose(raw)


def test_what_cannot_be_fitted_is_refused() -> None:
    network = compose(parts()).network
    names = [label.name for label in compose(parts()).package.manifest.classes]
    x = inputs_for(small_network(), batch=30, seed=3)
    with pytest.raises(ComposeError, match="two modules or more"):
        refit(network, Dataset.of(x, y=np.zeros(30, np.int64), classes=CLASSES), columns=names[:1])
    with pytest.raises(InvalidData, match="too few samples of the class"):
        refit(network, Dataset.of(x, y=np.zeros(30, np.int64), classes=CLASSES), columns=names)
