"""The networks of the GradSplitter and CNNSplitter papers, and how their authors trained them.

    python -m benchmarks.papers simcnn cifar10-train.npz benchmarks/models/cifar10-simcnn.onnx

SimCNN (13 convolutions, like VGG-16), ResCNN (12 with three identity shortcuts) and InceCNN (three inception stages),
as in GradSplitter: batch-norm behind every convolution. Images are 3x32x32 in [0, 1]; ImageNet's mean and deviation are
taken inside. A fifth of the data is held out, the epoch with the best accuracy on it is kept. `width` scales all
channels, for machines that cannot afford the originals; 1 is the authors'.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from benchmarks.parents import shifted
from modhub.datasets import load_dataset
from modhub.engines.export import from_torch

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIMCNN = ((64, 0), (64, 1), (128, 0), (128, 1), (256, 0), (256, 0), (256, 1), (512, 0), (512, 0), (512, 1), (512, 0))
"""Channels of each convolution, and whether pooling follows; two of 512 more end the stack."""
RESCNN = ((64, 0), (128, 1), (128, 0), (128, 0), (256, 1), (512, 1), (512, 0), (512, 0), (512, 1), (512, 1), (512, 0))


class Images(nn.Module):
    """A network with its normalisation in front."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("mean", torch.tensor(MEAN).reshape(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(DEVIATION).reshape(1, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        logits: torch.Tensor = self.body((x - self.mean) / self.deviation)
        return logits


def convolution(incoming: int, channels: int, size: int = 3) -> nn.Sequential:
    """Return a convolution that keeps the image's size, batch-norm and ReLU, begun as the authors do."""
    layer = nn.Conv2d(incoming, channels, size, padding=size // 2)
    nn.init.normal_(layer.weight, 0.0, math.sqrt(2 / (size * size * channels)))
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return nn.Sequential(layer, nn.BatchNorm2d(channels), nn.ReLU())


def scaled(channels: int, width: float) -> int:
    """Return a number of channels at a width, at least 8."""
    return max(8, round(channels * width))


def simcnn(classes: int = 10, width: float = 1.0) -> nn.Module:
    """Return an untrained SimCNN: 4224 kernels, 33.65 M parameters at full width."""
    parts: list[nn.Module] = []
    incoming = 3
    for channels, pooled in (*SIMCNN, (512, 0), (512, 1)):
        parts += [convolution(incoming, scaled(channels, width)), *([nn.MaxPool2d(2)] if pooled else [])]
        incoming = scaled(channels, width)
    hidden = scaled(4096, width)
    parts += [nn.Flatten(), nn.Dropout(0.5), nn.Linear(incoming, hidden), nn.ReLU(), nn.Dropout(0.5)]
    return Images(nn.Sequential(*parts, nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, classes)))


class ResCnn(nn.Module):
    """Twelve convolutions; the outputs of 1, 5 and 9 are added to those of 3, 7 and 11, without a ReLU behind."""

    def __init__(self, classes: int, width: float) -> None:
        super().__init__()
        sizes = [(scaled(channels, width), pooled) for channels, pooled in (*RESCNN, (512, 0))]
        incoming = [3, *(channels for channels, _ in sizes[:-1])]
        self.layers = nn.ModuleList(
            convolution(before, channels) for before, (channels, _) in zip(incoming, sizes, strict=True)
        )
        self.pooled = [bool(pooled) for _, pooled in sizes]
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(sizes[-1][0], classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        kept = x
        for number, (layer, pooled) in enumerate(zip(self.layers, self.pooled, strict=True)):
            x = layer(x)
            x = functional.max_pool2d(x, 2) if pooled else x
            kept = x if number in (1, 5, 9) else kept
            x = x + kept if number in (3, 7, 11) else x
        logits: torch.Tensor = self.head(x)
        return logits


def rescnn(classes: int = 10, width: float = 1.0) -> nn.Module:
    """Return an untrained ResCNN: 4288 kernels, 16.02 M parameters at full width."""
    return Images(ResCnn(classes, width))


class Inception(nn.Module):
    """Convolutions of size 1, 3 and 5 side by side."""

    def __init__(self, incoming: int, channels: tuple[int, int, int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            convolution(incoming, count, size) for count, size in zip(channels, (1, 3, 5), strict=True)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the branches' outputs, one behind the other."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def incecnn(classes: int = 10, width: float = 1.0) -> nn.Module:
    """Return an untrained InceCNN: 3200 kernels, 12.64 M parameters at full width."""
    stem = [scaled(channels, width) for channels in (64, 128, 256)]
    parts: list[nn.Module] = [convolution(*pair) for pair in zip([3, *stem], stem, strict=False)]
    incoming = stem[-1]
    for channels in ((256, 256, 64), (512, 512, 64), (512, 512, 64)):
        one, three, five = (scaled(count, width) for count in channels)
        parts += [nn.MaxPool2d(2), Inception(incoming, (one, three, five))]
        incoming = one + three + five
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.4), nn.Linear(incoming, classes))
    return Images(nn.Sequential(*parts, *head))


NETWORKS: dict[str, Callable[[int, float], nn.Module]] = {"simcnn": simcnn, "rescnn": rescnn, "incecnn": incecnn}


def train(model: nn.Module, data: Path, *, epochs: int, seed: int = 0) -> float:
    """Train a network as the authors did and leave it at its best epoch; returns the held-out accuracy there."""
    training, held_out = load_dataset(data).split(0.2, seed=seed)
    x, y = torch.from_numpy(training.x), torch.from_numpy(training.labels)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    milestones = [round(0.3 * epochs), round(0.6 * epochs)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=0.1)
    random = torch.Generator().manual_seed(seed)
    best, state = -1.0, copy.deepcopy(model.state_dict())
    for epoch in range(epochs):
        started = time.monotonic()
        model.train()
        for rows in torch.split(torch.randperm(len(x), generator=random), 128):
            if len(rows) > 1:
                loss = functional.cross_entropy(model(shifted(x[rows], random)), y[rows])
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
        schedule.step()
        found = accuracy(model, held_out.x, held_out.labels)
        if found > best:
            best, state = found, copy.deepcopy(model.state_dict())
        seconds = time.monotonic() - started
        print(f"epoch {epoch + 1}/{epochs}: held out {found:.4f}, {seconds:.0f} s", file=sys.stderr, flush=True)
    model.load_state_dict(state)
    model.eval()
    return best


@torch.no_grad()
def accuracy(model: nn.Module, x: np.ndarray, y: np.ndarray) -> float:
    """Return how often a network is right."""
    model.eval()
    scores = torch.cat([model(part) for part in torch.split(torch.from_numpy(x), 250)])
    return float((scores.argmax(dim=1).numpy() == y).mean())


def main() -> None:
    """Train one network and write it as an ONNX file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("data", type=Path, help="labelled images, such as cifar10-train.npz")
    parser.add_argument("output", type=Path, help="the .onnx file to write")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--classes", type=int, default=10)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = NETWORKS[arguments.network](arguments.classes, arguments.width)
    held_out = train(model, arguments.data, epochs=arguments.epochs)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_bytes(from_torch(model, torch.zeros(2, 3, 32, 32)))
    print(json.dumps({"held out": held_out, "epochs": arguments.epochs, "width": arguments.width}))


if __name__ == "__main__":
    main()
