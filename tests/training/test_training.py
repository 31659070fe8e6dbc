"""Training end to end on a tiny data set, resumed to the bit, and what goes wrong."""

from __future__ import annotations

import dataclasses
import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from modhub import flow
from modhub.datasets import Dataset
from modhub.decomposers.options import Options as Splitting
from modhub.engines.runtime import Session
from modhub.errors import FormatError, InvalidData, InvalidNetwork, UsageError
from modhub.training.batches import Batches, cropped
from modhub.training.checkpoint import read_state
from modhub.training.options import Options

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

QUICK = Options(epochs=3, batch=16, rate=0.05, flip=True, crop=1, device="cpu")


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2)),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3)),
    )


def images(count: int = 48, seed: int = 0) -> Dataset:
    random = np.random.default_rng(seed)
    y = np.arange(count) % 3
    x = random.integers(0, 100, (count, 3, 8, 8))
    x[np.arange(count), y] += 150
    return Dataset.of(x.astype(np.uint8), y=y, classes=("red", "green", "blue"))


def weights(folder: Path) -> Mapping[str, torch.Tensor]:
    return read_state(folder / "last.safetensors").arrays


def test_a_module_is_trained_and_splits(tmp_path: Path) -> None:
    seen: list[Mapping[str, Any]] = []
    options = dataclasses.replace(QUICK, epochs=8)
    trained = flow.train(net(), images(), tmp_path / "run", options=options, progress=seen.append)
    assert [event["epoch"] for event in seen] == list(range(1, 9))
    assert {"affinity", "dispersion", "compactness"} <= seen[0].keys()
    assert trained.report["accuracy"]["value"] > 0.9
    assert json.loads((tmp_path / "run/train.json").read_text("utf-8")) == trained.report
    model = flow.load(tmp_path / "run/model.onnx")
    x = images().x[:4]
    np.testing.assert_allclose(Session(model.network).run(x), Session(trained.model.network).run(x), atol=1e-5)
    split = flow.decompose(model, images(), method="moda", options=Splitting(cut="none", max_loss=10, align=1))
    assert len(split.modules) == 3
    (log,) = (tmp_path / "run/log").iterdir()
    assert b"dispersion" in log.read_bytes()
    # The first record of TensorBoard's format: a length, its checksum, and an event that names the version.
    length = struct.unpack("<Q", log.read_bytes()[:8])[0]
    assert b"brain.Event" in log.read_bytes()[12 : 12 + length]


def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(event: Mapping[str, Any]) -> None:
        if event["epoch"] == 2:
            raise Stop

    flow.train(net(), images(), tmp_path / "whole", options=QUICK)
    with pytest.raises(Stop):
        flow.train(net(), images(), tmp_path / "parts", options=QUICK, progress=stop)
    assert not (tmp_path / "parts/model.onnx").exists()
    flow.train(net(), images(), tmp_path / "parts", options=QUICK, resume=True)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    assert any(name.startswith("optimiser/") for name in whole)
    for name in ("model.onnx", "weights.safetensors", "best.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    with pytest.raises(UsageError, match="belongs to another run"):
        flow.train(net(), images(seed=1), tmp_path / "parts", options=QUICK, resume=True)


def test_a_checkpoint_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "last.safetensors").write_bytes(b"nonsense")
    with pytest.raises(FormatError, match="no checkpoint"):
        flow.train(net(), images(), tmp_path, options=QUICK, resume=True)


def test_a_trained_network_becomes_more_modular_in_a_few_epochs(tmp_path: Path) -> None:
    data = images()
    plain = flow.train(net(), data, tmp_path / "plain", options=dataclasses.replace(QUICK, objective="plain"))
    options = Options.fine_tuning(epochs=4, rate=0.02, batch=16, device="cpu")
    tuned = flow.train(plain.model, data, tmp_path / "tuned", options=options)
    history = tuned.report["history"]
    assert history[-1]["dispersion"] + history[-1]["affinity"] < history[0]["dispersion"] + history[0]["affinity"]
    assert tuned.report["accuracy"]["value"] >= plain.report["accuracy"]["value"] - 0.1
    assert [node.op for node in tuned.model.network.nodes] == [node.op for node in plain.model.network.nodes]


def test_another_optimiser_precision_and_selection(tmp_path: Path) -> None:
    options = dataclasses.replace(
        QUICK, optimiser="adamw", precision="bf16", select="best", rate=0.01, warmup=0.2, clip=1.0
    )
    trained = flow.train(net(), images(), tmp_path, options=options)
    assert np.isfinite([entry["loss"] for entry in trained.report["history"]]).all()
    assert trained.report["accuracy"]["value"] == pytest.approx(trained.report["best_accuracy"], abs=0.11)


def test_processes_share_a_batch_and_no_sample_is_lost() -> None:
    data = images(20)
    batches = [
        Batches.of(data, size=6, flip=True, crop=1, seed=0, rank=rank, world=2, device=torch.device("cpu"))
        for rank in range(2)
    ]
    alone = Batches.of(data, size=6, flip=True, crop=1, seed=0, rank=0, world=1, device=torch.device("cpu"))
    for (x, y), *parts in zip(alone.epoch(3), *(own.epoch(3) for own in batches), strict=True):
        joined = torch.cat([part[0] for part in parts])
        order = [*range(0, len(y), 2), *range(1, len(y), 2)]
        assert torch.equal(joined, x[order])
        assert torch.equal(torch.cat([part[1] for part in parts]), y[order])
    assert sum(len(y) for own in batches for _, y in own.parts()) == 20


def test_a_crop_is_a_window_of_the_padded_image() -> None:
    image = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).float()
    shifts = torch.tensor([[0, 2], [2, 1]])
    found = cropped(image, shifts, padding=1)
    padded = nn.functional.pad(image, (1, 1, 1, 1))
    assert torch.equal(found[0], padded[0, :, 0:4, 2:7])
    assert torch.equal(found[1], padded[1, :, 2:6, 1:6])


@pytest.mark.parametrize(
    ("module", "data", "error", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), images(), InvalidNetwork, "a logit a class"),
        (nn.Linear(5, 3), images(), InvalidNetwork, "cannot take samples"),
        (nn.Flatten(), images(), UsageError, "nothing to train"),
        (net(), dataclasses.replace(images(), y=None), InvalidData, "has no labels"),
    ],
)
def test_what_cannot_be_trained(
    module: nn.Module, data: Dataset, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        flow.train(module, data, tmp_path, options=dataclasses.replace(QUICK, normalise=False))


def test_values_that_mean_nothing_are_refused() -> None:
    for changes in ({"objective": "magic"}, {"epochs": 0}, {"rate": 0.0}, {"precision": "int8"}, {"gamma": -1.0}):
        with pytest.raises(UsageError):
            Options(**changes)
