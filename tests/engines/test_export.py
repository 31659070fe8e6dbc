from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from modhub.engines.export import from_torch
from modhub.engines.runtime import Session
from modhub.errors import InvalidData, InvalidNetwork
from modhub.network.load import load
from modhub.spec.ports import InputPort

EXAMPLE = torch.zeros(1, 3, 8, 8)


class Convolutional(torch.nn.Module):
    """A classifier whose answers differ between training and use, through batch-norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = torch.nn.Sequential(
            torch.nn.Conv2d(3, 6, 3, stride=2), torch.nn.BatchNorm2d(6), torch.nn.ReLU()
        )
        self.drop = torch.nn.Dropout(0.5)
        self.classify = torch.nn.Linear(54, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.classify(self.drop(self.features(x).flatten(1)))
        return scores


class Attention(torch.nn.Module):
    """A small transformer over patches, with a learned class token."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = torch.nn.Conv2d(3, 8, 4, stride=4)
        self.token = torch.nn.Parameter(torch.randn(1, 1, 8))
        self.layer = torch.nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True)
        self.classify = torch.nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        sequence = torch.cat([self.token.expand(x.shape[0], -1, -1), patches], dim=1)
        scores: torch.Tensor = self.classify(self.layer(sequence)[:, 0])
        return scores


class Recurrent(torch.nn.Module):
    """A classifier of rows read one after the other."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.read = torch.nn.LSTM(24, 7, batch_first=True, bidirectional=True)
        self.classify = torch.nn.Linear(14, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, _ = self.read(x.permute(0, 2, 1, 3).flatten(2))
        scores: torch.Tensor = self.classify(states.mean(1))
        return scores


@pytest.mark.parametrize("kind", [Convolutional, Attention, Recurrent])
def test_a_torch_classifier_answers_as_before_for_batches_of_any_size(kind: type[torch.nn.Module]) -> None:
    module = kind()
    session = Session(load(from_torch(module, EXAMPLE)))
    x = torch.rand(5, 3, 8, 8)
    with torch.no_grad():
        expected = module.eval()(x).numpy()
    np.testing.assert_allclose(session.run(x.numpy()), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(session.run(x[:1].numpy()), expected[:1], rtol=1e-4, atol=1e-5)


class Pooled(torch.nn.Module):
    """A classifier of means over the image, which torch computes in the order that the image has in memory."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.read = torch.nn.Conv2d(3, 6, 3)
        self.pool = torch.nn.AdaptiveAvgPool2d(1)
        self.classify = torch.nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.classify(self.pool(self.read(x).relu()).flatten(1))
        return scores


def test_the_order_of_axes_in_memory_is_not_exported_and_left_as_it_was() -> None:
    module = Pooled().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network = load(from_torch(module, EXAMPLE.to(memory_format=torch.channels_last)))
    assert "Gather" not in {node.op for node in network.nodes}
    x = torch.rand(5, 3, 8, 8)
    with torch.no_grad():
        np.testing.assert_allclose(Session(network).run(x.numpy()), module(x).numpy(), rtol=1e-4, atol=1e-5)
    assert module.read.weight.is_contiguous(memory_format=torch.channels_last)


def test_every_part_is_left_in_the_mode_it_was_in() -> None:
    module = Convolutional()
    module.drop.eval()
    before = {name: part.training for name, part in module.named_modules()}
    from_torch(module, EXAMPLE)
    assert {name: part.training for name, part in module.named_modules()} == before


def test_the_contract_names_the_input_and_is_checked() -> None:
    port = InputPort(name="photo", kind="image", dtype="float32", layout="NCHW", shape=("batch", 3, 8, 8))
    assert b"photo" in from_torch(Convolutional(), EXAMPLE, input=port)
    with pytest.raises(
        InvalidData, match=r"float32 of shape \[1, 3, 9, 8\], expected float32 of shape \['batch', 3, 8"
    ):
        from_torch(Convolutional(), torch.zeros(1, 3, 9, 8), input=port)
    with pytest.raises(InvalidData, match="the example is float64"):
        from_torch(Convolutional(), EXAMPLE.double(), input=port)


@pytest.mark.parametrize("example", [torch.tensor(1.0), torch.zeros(0, 3, 8, 8)])
def test_an_example_must_be_a_batch(example: torch.Tensor) -> None:
    with pytest.raises(InvalidData, match="expected a batch of at least one input"):
        from_torch(Convolutional(), example)


class Undecided(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) if x.sum() > 0 else -x.flatten(1)


class Counting(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) / len(x)


class Broken(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise ValueError(f"no \x1b[31m{x.ndim}")


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (Undecided, "torch cannot export it: .*data-dependent"),
        (Counting, "it fixes the batch at 2 rows"),
        (Broken, r"torch cannot export it: no \?\[31m4$"),
    ],
)
def test_a_torch_classifier_that_cannot_be_exported_says_why_and_nothing_else(
    kind: type[torch.nn.Module], problem: str, capfd: pytest.CaptureFixture[str]
) -> None:
    level = logging.root.manager.disable
    with pytest.raises(InvalidNetwork, match=problem):
        from_torch(kind(), EXAMPLE)
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == level
