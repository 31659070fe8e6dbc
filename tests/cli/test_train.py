"""`modhub train`, and `modhub decompose` on what it wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

    Call = Callable[..., Answer]

FACTORY = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))
"""


def test_a_factory_is_trained_resumed_and_split(call: Call, data: Path, tmp_path: Path) -> None:
    name = f"trainable_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(FACTORY, encoding="utf-8")
    words = ("train", f"{name}:make", "--data", data, "-o", "run", "--epochs", "2", "--batch", "8", "--device", "cpu")
    answer = call(*words)
    assert answer.code == 0, answer.err
    assert "dispersion" in answer.err
    assert "accuracy" in answer.out
    assert call(*words).code == 2
    again = call(*words, "--resume", "--json")
    assert again.code == 0, again.err
    assert len(again.json["history"]) == 2
    split = ("decompose", "run/model.onnx", "--data", data, "--method", "moda", "--recipe", "paper", "-o", "split")
    assert call(*split).code == 0
    assert call("check", "split").code == 0


def test_a_model_is_fine_tuned(call: Call, model: Path, data: Path) -> None:
    words = ("--data", data, "--objective", "moda", "--epochs", "1", "--device", "cpu", "-o", "tuned", "--json")
    answer = call("train", model, *words)
    assert answer.code == 0, answer.err
    assert answer.json["options"]["rate"] == 0.005
    assert call("evaluate", "tuned/model.onnx", "--data", data).code == 0


def test_one_epoch_is_one(call: Call, model: Path, data: Path) -> None:
    answer = call("train", model, "--data", data, "--epochs", "1", "--device", "cpu", "-o", "tuned")
    assert answer.out.startswith("trained 1 epoch in ")


def test_a_value_out_of_range_is_wrong_usage(call: Call, model: Path, data: Path) -> None:
    answer = call("train", model, "--data", data, "--rate", "-1", "-o", "run")
    assert answer.code == 2
    assert "rate: expected more than 0" in answer.err
