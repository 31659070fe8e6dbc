"""Parents that benchmarks need and nobody publishes: trained once, kept beside them.

    python -m benchmarks.parents cifar100-train.npz cifar100-test.npz benchmarks/models/cifar100-resnet20.onnx

A ResNet-20 (He et al. 2016) on the 100 classes of CIFAR-100. A tenth of the training data is held out, and nothing is
chosen on test data; the accuracy on it is printed at the end. Training uses bfloat16, fast where the processor has it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from modhub.datasets import load_dataset
from modhub.engines.export import from_torch

WIDTH = 16
MEAN, DEVIATION = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)


class Block(nn.Module):
    """Two convolutions with batch-norm and a shortcut."""

    def __init__(self, incoming: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(incoming, channels, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or incoming != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(incoming, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output."""
        y = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(self.second_norm(self.second(y)) + self.shortcut(x))


class Normalised(nn.Module):
    """A network with its normalisation in front, so that it takes images in [0, 1]."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("mean", torch.tensor(MEAN).reshape(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(DEVIATION).reshape(1, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> Any:
        """Return the logits."""
        return self.body((x - self.mean) / self.deviation)


def resnet20(classes: int, width: int = WIDTH) -> nn.Module:
    """Return an untrained ResNet-20."""
    sizes = (width, width, width, 2 * width, 2 * width, 2 * width, 4 * width, 4 * width, 4 * width)
    blocks, incoming = [], width
    for i, channels in enumerate(sizes):
        blocks.append(Block(incoming, channels, 2 if i in (3, 6) else 1))
        incoming = channels
    return Normalised(
        nn.Sequential(
            *(nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), *blocks),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(incoming, classes)),
        )
    )


def train(model: nn.Module, x: torch.Tensor, y: torch.Tensor, *, epochs: int, batch: int = 128) -> None:
    """Train with stochastic gradient descent on shifted and mirrored images; the rate rises, then falls to zero."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = len(x) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=0.2, total_steps=epochs * steps, pct_start=0.2, anneal_strategy="cos"
    )
    generator = torch.Generator().manual_seed(0)
    for epoch in range(epochs):
        started, total = time.monotonic(), 0.0
        order = torch.randperm(len(x), generator=generator)
        model.train()
        for step in range(steps):
            rows = order[step * batch : (step + 1) * batch]
            images = shifted(x[rows], generator).to(memory_format=torch.channels_last)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                scores = model(images)
            loss = functional.cross_entropy(scores.float(), y[rows], label_smoothing=0.05)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        seconds = time.monotonic() - started
        print(f"epoch {epoch + 1}/{epochs}: loss {total / steps:.3f}, {seconds:.0f} s", file=sys.stderr, flush=True)


def shifted(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return images moved by up to four pixels, every second one mirrored."""
    padded = functional.pad(images, (4, 4, 4, 4))
    height, width = images.shape[2:]
    down, right = torch.randint(0, 9, (2, len(images)), generator=generator)
    rows = (down[:, None] + torch.arange(height))[:, None, :, None]
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    order = torch.arange(width).expand(len(images), -1)
    order = torch.where(mirrored[:, None], order.flip(1), order)
    columns = (right[:, None] + order)[:, None, None, :]
    batch = torch.arange(len(images))[:, None, None, None]
    return padded[batch, torch.arange(images.shape[1])[None, :, None, None], rows, columns]


@torch.no_grad()
def accuracy(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the share of inputs that a model classifies correctly."""
    model.eval()
    right = sum(int((model(part).argmax(1) == of).sum()) for part, of in zip(x.split(500), y.split(500), strict=True))
    return right / len(x)


def main() -> None:
    """Train, measure and write a parent."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--epochs", type=int, default=40)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    learn, held_out = load_dataset(arguments.train).split(0.1)
    test = load_dataset(arguments.test)
    model = resnet20(int(np.max(np.asarray(learn.y))) + 1).to(memory_format=torch.channels_last)
    train(model, torch.from_numpy(learn.x), torch.from_numpy(np.asarray(learn.y)), epochs=arguments.epochs)
    measured = {
        name: accuracy(model, torch.from_numpy(data.x), torch.from_numpy(np.asarray(data.y)))
        for name, data in (("validation", held_out), ("test", test))
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_bytes(from_torch(model, torch.zeros(2, 3, 32, 32)))
    print(json.dumps({"epochs": arguments.epochs, "images": len(learn), **measured}))


if __name__ == "__main__":
    main()
