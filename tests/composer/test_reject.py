"""None of these: when a composite gives no answer, and who says so."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from modhub import flow
from modhub.composer.compose import compose
from modhub.composer.reject import best_threshold, measured, parse_reject, rejection
from modhub.datasets import Dataset
from modhub.engines.model import Model
from modhub.engines.runtime import Session
from modhub.errors import ComposeError, UsageError
from modhub.metrics import answers
from modhub.package.verify import verify
from tests.composer.test_compose import uncalibrated
from tests.support.samples import CLASSES, parts, small_network

if TYPE_CHECKING:
    from pathlib import Path


def strange_images(count: int = 400) -> Dataset:
    """Return images of the three classes, and dark ones of a fourth."""
    random = np.random.default_rng(0)
    x = random.random((count, 3, 8, 8), dtype=np.float32)
    y = Session(small_network()).run(x).argmax(axis=1)
    x[: count // 4], y[: count // 4] = 0.02 * x[: count // 4], 3
    return Dataset.of(x, y=y, classes=(*CLASSES, "night"), name="images")


def test_without_data_a_class_must_be_more_likely_than_not() -> None:
    composite = compose(parts(), reject="auto")
    assert composite.rejection is not None
    assert (composite.rejection.threshold, dict(composite.rejection.metrics)) == (0.5, {})
    manifest = verify(composite.package.files).manifest
    assert manifest.method is not None
    assert manifest.method.parameters["reject"] == 0.5


def test_the_threshold_travels_and_the_scores_stay_as_they_are(tmp_path: Path) -> None:
    plain, strict = compose(parts()), compose(parts(), reject=0.9)
    x = np.random.default_rng(0).random((5, 3, 8, 8), dtype=np.float32)
    assert np.array_equal(Session(plain.network).run(x), Session(strict.network).run(x))
    model = flow.load(flow.write_package(strict.package, tmp_path / "strict"))
    assert (model.reject, Model.of_package(plain.package, plain.network).reject) == (0.9, None)
    entries = onnx.load(tmp_path / "strict" / "model.onnx", load_external_data=False).metadata_props
    assert {"modhub.reject": "0.9"}.items() <= {entry.key: entry.value for entry in entries}.items()


def test_with_data_it_is_what_tells_the_classes_from_others() -> None:
    composite = compose(parts(), reject="auto", calibrate=strange_images())
    assert composite.rejection is not None
    assert set(composite.rejection.metrics) == {"answered", "rejected"}
    assert composite.rejection.metrics.items() <= composite.package.manifest.metrics.items()
    assert 0 < composite.rejection.threshold < 1


def test_the_best_threshold_separates_what_can_be_separated() -> None:
    scores = np.array([[4.0, -4.0], [-4.0, 3.0], [3.5, -2.0], [-1.0, -2.0], [0.5, 0.4]], dtype=np.float32)
    columns = np.array([0, 1, 0, -1, -1])
    found = best_threshold(scores, columns)
    assert answers(scores, least=found).tolist() == columns.tolist()
    shares = measured(scores, columns, threshold=found)
    assert (shares["answered"].value, shares["rejected"].value) == (1, 1)


@pytest.mark.parametrize("columns", [[0, 1], [-1, -1]])
def test_data_of_one_kind_says_nothing_about_the_threshold(columns: list[int]) -> None:
    scores = np.array([[2.0, -1.0], [-1.0, 2.0]], dtype=np.float32)
    assert best_threshold(scores, np.array(columns)) == 0.5


def test_scores_that_are_no_probabilities_are_refused() -> None:
    raw = [uncalibrated(part) for part in parts()]
    with pytest.raises(ComposeError, match=r"acme/pets/cat 1.0.0 has no calibrated score, so nothing says when"):
        compose(raw, reject="auto")
    network = compose(raw).network
    found = rejection(network, raw, 0.7, data=strange_images(), columns=CLASSES)
    assert found.threshold == 0.7


@pytest.mark.parametrize("wish", ["often", "0", "1", "1.5", "nan", ""])
def test_what_is_no_probability_is_refused(wish: str) -> None:
    with pytest.raises(UsageError, match="to reject, expected auto or a probability between 0 and 1"):
        parse_reject(wish)


def test_a_stranger_cannot_smuggle_in_a_threshold() -> None:
    composite = compose(parts(), reject=0.9)
    method = composite.package.manifest.method
    assert method is not None
    for claim in ("often", 7, None, True):
        changed = dataclasses.replace(
            composite.package.manifest,
            method=dataclasses.replace(method, parameters={**method.parameters, "reject": claim}),
        )
        package = dataclasses.replace(composite.package, manifest=changed)
        assert Model.of_package(package, composite.network).reject is None
