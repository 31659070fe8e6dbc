"""What a network is worth, measured on data where the right answer is known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from modhub.datasets import Dataset
from modhub.engines.evaluation import columns_of, evaluate_network
from modhub.errors import InvalidData
from tests.support.networks import Builder

if TYPE_CHECKING:
    from modhub.network.network import Network

CLASSES = ("cat", "dog", "bird")


@pytest.fixture
def identity() -> Network:
    """A network whose scores are its inputs."""
    builder = Builder(shape=(3,))
    network = builder.build(builder.gemm(builder.input, 3))
    arrays = {
        name: np.eye(3, dtype=np.float32) if a.ndim == 2 else np.zeros_like(a) for name, a in network.arrays.items()
    }
    return network.replace(arrays=arrays)


def data_of(rows: list[list[float]], labels: list[int], *, classes: tuple[str, ...] | None = CLASSES) -> Dataset:
    """Return labelled inputs."""
    return Dataset.of(np.array(rows, np.float32), y=np.array(labels), classes=classes, name="made up")


def test_accuracy_and_each_class(identity: Network) -> None:
    data = data_of([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]], [0, 1, 0, 2])
    found = evaluate_network(identity, data, columns=CLASSES, calibrated=False, timed=False)
    assert found.accuracy is not None
    assert found.accuracy.value == 0.75
    assert found.classes["cat"]["recall"].value == 0.5
    assert found.classes["dog"]["precision"].value == 0.5
    assert found.classes["bird"]["f1"].value == 1
    assert (found.samples, found.calibration_error, dict(found.latency)) == (4, None, {})


def test_only_samples_of_the_networks_own_classes_count(identity: Network) -> None:
    data = data_of([[1, 0, 0], [0, 1, 0]], [0, 3], classes=(*CLASSES, "car"))
    found = evaluate_network(identity, data, columns=CLASSES, calibrated=True, timed=False)
    assert found.samples == 1
    assert found.calibration_error is not None


def test_columns_are_matched_by_name_and_not_by_position(identity: Network) -> None:
    data = data_of([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [2, 1, 0], classes=("bird", "dog", "cat"))
    found = evaluate_network(identity, data, columns=CLASSES, calibrated=False, timed=False)
    assert found.accuracy is not None
    assert found.accuracy.value == 1


def test_classes_without_names_are_numbered() -> None:
    data = data_of([[0.0]] * 3, [0, 2, 1], classes=None)
    assert columns_of(data, ("class-2", "class-0")).tolist() == [1, 0, -1]
    with pytest.raises(InvalidData, match="'cat' is not among those of the data, which have no names"):
        columns_of(data, ("cat",))


def test_a_class_that_the_data_lacks(identity: Network) -> None:
    data = data_of([[1, 0, 0]], [0], classes=("cat", "dog"))
    with pytest.raises(InvalidData, match="'bird' is not among cat, dog"):
        evaluate_network(identity, data, columns=CLASSES, calibrated=False)


def test_no_sample_of_any_class(identity: Network) -> None:
    data = data_of([[1, 0, 0]], [3], classes=(*CLASSES, "car"))
    with pytest.raises(InvalidData, match="no sample belongs to one of the classes cat, dog, bird"):
        evaluate_network(identity, data, columns=CLASSES, calibrated=False)


def test_an_evaluation_is_plain_json_and_knows_its_cost(identity: Network) -> None:
    found = evaluate_network(identity, data_of([[1, 0, 0]], [0]), columns=CLASSES, calibrated=True)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert set(plain["latency_ms"]) == {"1", "32"}
    assert (plain["parameters"], plain["macs"]) == (12, 9)
    assert plain["bytes"] > 0
