"""Small classifiers in torch, one per family of architectures, and both of torch's exporters.

Each is what its paper describes, made narrow; none is trained. Batch-norm statistics are random, so that folding them
wrongly shows.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from modhub.engines.export import quietly

if TYPE_CHECKING:
    from collections.abc import Callable

    from modhub.network.network import Array

CLASSES = 5
SIDE = 8
LENGTH = 6
VOCABULARY = 20


def plain_cnn() -> nn.Module:
    """Return convolutions, pooling and two fully connected layers."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3),
        nn.LeakyReLU(0.1),
        nn.Flatten(),
        nn.Linear(12 * 4, 10),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(10, CLASSES),
        nn.Softmax(dim=1),
    )


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut (He et al. 2016); without parameters it takes every second pixel and pads."""

    def __init__(self, incoming: int, channels: int, stride: int, *, projected: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(incoming, channels, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)
        self.changes, self.padding = stride > 1 or incoming != channels, (channels - incoming) // 2
        self.stride = stride
        self.project = nn.Conv2d(incoming, channels, 1, stride=stride) if self.changes and projected else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x
        if self.project is not None:
            shortcut = self.project(x)
        elif self.changes:
            halved = x[:, :, :: self.stride, :: self.stride]
            shortcut = nn.functional.pad(halved, (0, 0, 0, 0, self.padding, self.padding))
        y = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.second_norm(self.second(y)) + shortcut)


class PreActivationBlock(nn.Module):
    """Batch-norm and rectifier before each convolution (He et al. 2016b)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)])
        self.convs = nn.ModuleList([nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            y = conv(torch.relu(norm(y)))
        return x + y


class InvertedResidual(nn.Module):
    """Widen, filter per channel, narrow (MobileNetV2, Sandler et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 3 * channels
        self.layers = nn.Sequential(
            *(nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()),
            *(nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.Hardswish()),
            *(nn.Conv2d(wide, channels, 1, bias=False), nn.BatchNorm2d(channels)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.as_tensor(self.layers(x))


class Inception(nn.Module):
    """Branches side by side, joined along the channels (Szegedy et al. 2015)."""

    def __init__(self, incoming: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(incoming, 4, 1)
        self.three = nn.Sequential(nn.Conv2d(incoming, 3, 1), nn.ReLU(), nn.Conv2d(3, 6, 3, padding=1))
        self.pooled = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), nn.Conv2d(incoming, 2, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(torch.cat([self.one(x), self.three(x), self.pooled(x)], dim=1))


class SqueezeExcite(nn.Module):
    """A factor per channel, computed from all channels (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, 3, 1)
        self.excite = nn.Conv2d(3, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(dim=(2, 3), keepdim=True)
        return torch.as_tensor(x * torch.sigmoid(self.excite(torch.relu(self.squeeze(mean)))))


class Shuffle(nn.Module):
    """Half of the channels pass, half are filtered, then both are interleaved (ShuffleNetV2, Ma et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            *(nn.Conv2d(half, half, 1), nn.ReLU(), nn.Conv2d(half, half, 3, padding=1, groups=half)),
            *(nn.Conv2d(half, half, 1), nn.ReLU()),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        passed, filtered = x.chunk(2, dim=1)
        joined = torch.cat([passed, self.branch(filtered)], dim=1)
        _, channels, height, width = joined.shape
        return joined.reshape(-1, 2, channels // 2, height, width).transpose(1, 2).reshape(-1, channels, height, width)


class ConvNext(nn.Module):
    """A depthwise convolution, layer-norm over the channels and an MLP per pixel (Liu et al. 2022)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))
        self.gamma = nn.Parameter(torch.rand(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.mlp(self.norm(self.spatial(x).permute(0, 2, 3, 1))) * self.gamma
        return x + torch.as_tensor(y.permute(0, 3, 1, 2))


def _image_net(*middle: nn.Module, channels: int = 8, end: int | None = None) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(), *middle),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(end or channels, CLASSES)),
    )


class SelfAttention(nn.Module):
    """Multi-head attention with queries, keys and values from one product, as vision transformers write it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.joint, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, tokens, width = x.shape
        joint = self.joint(x).reshape(-1, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        queries, keys, values = joint.unbind(0)
        mixed = nn.functional.scaled_dot_product_attention(queries, keys, values)
        return torch.as_tensor(self.out(mixed.transpose(1, 2).reshape(-1, tokens, width)))


class TransformerBlock(nn.Module):
    """Attention and an MLP, each after a layer-norm and beside a residual stream."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + torch.as_tensor(self.mlp(self.mlp_norm(x)))


class VisionTransformer(nn.Module):
    """Patches and a class token through transformer blocks (Dosovitskiy et al. 2021)."""

    def __init__(self, width: int = 12, heads: int = 3, depth: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, stride=4)
        self.class_token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 1 + (SIDE // 4) ** 2, width))
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(x.shape[0], -1, -1), tokens], dim=1) + self.positions
        return torch.as_tensor(self.head(self.norm(self.blocks(tokens))[:, 0]))


class TextTransformer(nn.Module):
    """Embedded tokens through torch's own encoder layer, averaged."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.encoder = nn.TransformerEncoderLayer(width, 3, 16, activation="relu", batch_first=True)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.head(self.encoder(self.embedding(x)).mean(dim=1)))


class Recurrent(nn.Module):
    """Embedded tokens through a recurrent layer; the last step decides."""

    def __init__(self, kind: type[nn.RNNBase], *, bidirectional: bool = False, layers: int = 1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 7)
        self.cell = kind(7, 9, num_layers=layers, bidirectional=bidirectional, batch_first=True)  # type: ignore[call-arg, arg-type]
        self.head = nn.Linear(18 if bidirectional else 9, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, _ = self.cell(self.embedding(x))
        return torch.as_tensor(self.head(states[:, -1]))


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "plain CNN": plain_cnn,
    "perceptron": lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 12), nn.Tanh(), nn.Linear(12, CLASSES)),
    "ResNet": lambda: _image_net(BasicBlock(8, 8, 1), BasicBlock(8, 12, 2), end=12),
    "ResNet without projections": lambda: _image_net(BasicBlock(8, 12, 2, projected=False), end=12),
    "pre-activation ResNet": lambda: _image_net(PreActivationBlock(8), PreActivationBlock(8), nn.BatchNorm2d(8)),
    "MobileNetV2": lambda: _image_net(InvertedResidual(8), InvertedResidual(8)),
    "Inception": lambda: _image_net(Inception(8), Inception(12), end=12),
    "squeeze-excite": lambda: _image_net(SqueezeExcite(8), nn.Conv2d(8, 8, 3), SqueezeExcite(8)),
    "ResNeXt": lambda: _image_net(nn.Conv2d(8, 12, 1), nn.PReLU(12), nn.Conv2d(12, 8, 3, groups=4), nn.ReLU()),
    "ShuffleNetV2": lambda: _image_net(Shuffle(8), Shuffle(8)),
    "group-norm CNN": lambda: _image_net(nn.Conv2d(8, 8, 3), nn.GroupNorm(4, 8), nn.ReLU(), nn.Conv2d(8, 8, 1)),
    "instance-norm CNN": lambda: _image_net(nn.Conv2d(8, 8, 3), nn.InstanceNorm2d(8, affine=True), nn.Conv2d(8, 8, 1)),
    "ConvNeXt": lambda: _image_net(ConvNext(8), ConvNext(8)),
    "vision transformer": VisionTransformer,
    "text transformer": TextTransformer,
    "LSTM": functools.partial(Recurrent, nn.LSTM),
    "two bidirectional LSTMs": functools.partial(Recurrent, nn.LSTM, bidirectional=True, layers=2),
    "GRU": functools.partial(Recurrent, nn.GRU, layers=2),
    "RNN": functools.partial(Recurrent, nn.RNN),
}


def torch_model(family: str, *, seed: int = 0) -> nn.Module:
    """Return a classifier of a family with random weights and random batch-norm statistics, as it answers."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = FAMILIES[family]()
    for part in model.modules():
        if isinstance(part, (nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d, nn.LayerNorm)):
            for value, low in ((part.weight, 0.5), (part.bias, -0.5)):
                value.data = low + torch.rand(value.shape, generator=generator)
        if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None and part.running_var is not None:
            part.running_mean.copy_(torch.rand(part.running_mean.shape, generator=generator) - 0.5)
            part.running_var.copy_(0.5 + torch.rand(part.running_var.shape, generator=generator))
    return model.eval()


def torch_inputs(family: str, *, batch: int = 3, seed: int = 1) -> torch.Tensor:
    """Return random inputs for a family: images, or tokens."""
    generator = torch.Generator().manual_seed(seed)
    if family == "text transformer" or family.endswith(("LSTM", "LSTMs", "GRU", "RNN")):
        return torch.randint(0, VOCABULARY, (batch, LENGTH), generator=generator)
    return torch.rand(batch, 3, SIDE, SIDE, generator=generator)


def exported(family: str, *, dynamo: bool, opset: int) -> bytes:
    """Return a family's classifier as torch's newer (`dynamo`) or older exporter writes it."""
    model, example = torch_model(family), torch_inputs(family)
    names: dict[str, Any] = {"input_names": ["x"], "output_names": ["y"], "opset_version": opset, "dynamo": dynamo}
    if dynamo:
        names |= {"dynamic_shapes": ({0: torch.export.Dim("batch")},), "external_data": False}
    else:
        names |= {"dynamic_axes": {"x": {0: "batch"}, "y": {0: "batch"}}}
    with tempfile.TemporaryDirectory() as folder, quietly(), torch.no_grad():
        path = Path(folder) / "model.onnx"
        torch.onnx.export(model, (example,), path, **names)
        return path.read_bytes()


def torch_answers(family: str, x: torch.Tensor) -> Array:
    """Return what torch itself computes, without a final softmax."""
    model = torch_model(family)
    layers = list(model)[:-1] if isinstance(model, nn.Sequential) and isinstance(model[-1], nn.Softmax) else None
    with torch.no_grad():
        result: Array = np.asarray((nn.Sequential(*layers) if layers else model)(x))
    return result
