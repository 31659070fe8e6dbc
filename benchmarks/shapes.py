"""Small classifiers in the shapes of MODA's networks: VGG, ResNet and MobileNet, an eighth as wide and half as deep."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

CLASSES = 10
Activation = Callable[[], nn.Module]


def _layer(
    incoming: int, channels: int, act: Activation, *, stride: int = 1, groups: int = 1, kernel: int = 3
) -> nn.Module:
    conv = nn.Conv2d(incoming, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), act())


class Block(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2016)."""

    def __init__(self, incoming: int, channels: int, stride: int, act: Activation) -> None:
        super().__init__()
        self.first = _layer(incoming, channels, act, stride=stride)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        short = nn.Conv2d(incoming, channels, 1, stride, bias=False)
        self.shortcut = nn.Identity() if stride == 1 and incoming == channels else short
        self.act = act()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output."""
        return torch.as_tensor(self.act(self.second(self.first(x)) + self.shortcut(x)))


def vgg(act: Activation = nn.ReLU) -> nn.Module:
    """Return six convolutions and a wide hidden layer, which holds most weights as it does in VGG16."""
    widths, layers = (16, 32, 32, 64, 64, 64), []
    for i, (before, after) in enumerate(zip((3, *widths), widths, strict=False)):
        layers += [_layer(before, after, act), *([nn.MaxPool2d(2)] if i in (0, 2, 5) else [])]
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(64 * 16, 256), act(), nn.Linear(256, 256), act(), nn.Linear(256, CLASSES)
    )


def resnet(act: Activation = nn.ReLU) -> nn.Module:
    """Return a stem that halves the sides and three residual blocks, of which two halve them again."""
    blocks = [Block(16, 32, 1, act), Block(32, 64, 2, act), Block(64, 64, 2, act)]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES))
    return nn.Sequential(_layer(3, 16, act, stride=2), *blocks, *head)


def mobilenet(act: Activation = nn.ReLU) -> nn.Module:
    """Return depthwise and pointwise convolutions in turn (Howard et al. 2017)."""
    layers: list[nn.Module] = [_layer(3, 16, act, stride=2)]
    for before, after, stride in ((16, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1)):
        layers += [_layer(before, before, act, stride=stride, groups=before), _layer(before, after, act, kernel=1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, CLASSES))


def small(channels: int = 1, side: int = 28) -> nn.Module:
    """Return three convolutions and a hidden layer, for small grey images."""
    layers: list[nn.Module] = []
    for before, after in ((channels, 16), (16, 32), (32, 64)):
        layers += [_layer(before, after, nn.ReLU), nn.MaxPool2d(2)]
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(64 * (side // 8) ** 2, 128), nn.ReLU(), nn.Linear(128, CLASSES)
    )


SHAPES: dict[str, Callable[..., nn.Module]] = {"VGG": vgg, "ResNet": resnet, "MobileNet": mobilenet}
