from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import onnxruntime as ort
import pytest

from modhub.datasets import load_dataset, read_sample
from modhub.errors import NotFound

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.mark.parametrize(("name", "per_class"), [("cifar10-train", 200), ("cifar10-test", 100)])
def test_the_shipped_images_are_the_ones_described(name: str, per_class: int) -> None:
    data = load_dataset(f"sample:{name}")
    assert (data.name, data.shape, data.classes) == (name, (3, 32, 32), CLASSES)
    assert np.bincount(data.labels).tolist() == [per_class] * 10
    assert data.sha256 == json.loads(read_sample(f"{name}.json"))["sha256"]


def test_training_and_test_images_have_none_in_common() -> None:
    train, test = (
        {image.tobytes() for image in load_dataset(f"sample:{name}").values}
        for name in ("cifar10-train", "cifar10-test")
    )
    assert not train & test


def test_the_shipped_network_knows_the_shipped_images() -> None:
    described = json.loads(read_sample("cifar10-resnet20.json"))
    session = ort.InferenceSession(read_sample("cifar10-resnet20.onnx"))
    data = load_dataset("sample:cifar10-test", limit=200)
    right = sum(
        int((np.asarray(session.run(None, {"image": x})[0]).argmax(axis=1) == y).sum()) for x, y in data.batches(100)
    )
    assert tuple(described["classes"]) == data.classes
    assert right / len(data) > 0.85


@pytest.mark.parametrize("name", ["cifar11", "../_version", "cifar10-resnet20", ""])
def test_a_sample_that_does_not_ship_is_not_found(name: str) -> None:
    with pytest.raises(NotFound, match=r"there are .*cifar10-test\.webp"):
        load_dataset(f"sample:{name}")


def test_a_name_never_leaves_the_folder() -> None:
    with pytest.raises(NotFound):
        read_sample("../errors.py")


def test_no_shipped_file_is_larger_than_five_megabytes() -> None:
    sizes = {
        entry.name: len(entry.read_bytes())
        for entry in files("modhub").joinpath("samples").iterdir()
        if entry.is_file()
    }
    assert max(sizes.values()) < 5_000_000


def test_what_others_made_is_shipped_with_their_notice() -> None:
    notice = read_sample("NOTICE").decode()
    assert "Copyright (c) 2018, Yerlan Idelbayev" in notice
    assert json.loads(read_sample("cifar10-resnet20.json"))["source"].partition("@")[2][:12] in notice
    assert "Learning Multiple Layers of Features from Tiny Images" in notice
