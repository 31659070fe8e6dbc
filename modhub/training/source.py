"""What is trained: from what somebody names to a `torch.nn.Module`, and back to a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from modhub.engines.export import from_torch
from modhub.engines.factory import checked_module, find_factory, load_weights
from modhub.engines.foreign import first_line
from modhub.engines.model import Model, is_factory, open_model
from modhub.engines.pickles import refuse_pickle
from modhub.engines.torch_engine import TorchNetwork, to_torch
from modhub.errors import InvalidNetwork, UsageError
from modhub.network.load import load
from modhub.network.network import Network
from modhub.network.passes.selection import is_selection

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.datasets import Dataset

LEAST_DEVIATION = 1e-3
"""A channel that never changes is not blown up."""


class Normalised(torch.nn.Module):
    """A network behind a shift and a scale per channel, which travel with it.

    Args:
        inner: the network.
        mean: ``[channels]``.
        deviation: ``[channels]``.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, inner: torch.nn.Module, *, mean: torch.Tensor, deviation: torch.Tensor) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("mean", mean.reshape(-1, 1, 1))
        self.register_buffer("deviation", deviation.reshape(-1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the network says of images in [0, 1]."""
        return torch.as_tensor(self.inner((x - self.mean) / self.deviation))


@dataclass(frozen=True, eq=False)
class Opened:
    """What is trained, and the network that it was, if it came as one."""

    module: torch.nn.Module
    network: Network | None = None


def opened(source: str | Path | torch.nn.Module | Model | Network, *, weights: Path | None, seed: int) -> Opened:
    """Return the module that a source stands for, all its learned arrays trainable.

    Args:
        source: ``package.module:factory``, a module, a network, or anything `modhub.load` opens.
        weights: safetensors file for a factory's module to begin with.
        seed: of a factory's random weights.

    Raises:
        NotFound: there is no such file or factory.
        InvalidNetwork: the factory fails, or makes no `torch.nn.Module`.
        UsageError: weights are given for something that has its own.
    """
    if isinstance(source, str) and is_factory(source):
        if weights is not None:
            refuse_pickle(weights)
        module = _made(source, seed)
        if weights is not None:
            load_weights(module, weights)
        return Opened(module)
    if weights is not None:
        raise UsageError(f"weights are for a factory's module; {source} has its own")
    if isinstance(source, torch.nn.Module):
        return Opened(source)
    model = source if isinstance(source, (Model, Network)) else open_model(source)
    network = model.network if isinstance(model, Model) else model
    return Opened(trainable(network), network)


def _made(text: str, seed: int) -> torch.nn.Module:
    factory = find_factory(text)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            return checked_module(factory())
        except InvalidNetwork:
            raise
        except Exception as error:  # Whatever the caller's code raises.
            raise InvalidNetwork(f"{text}() failed: {type(error).__name__}: {first_line(error)}") from error


def trainable(network: Network) -> TorchNetwork:
    """Return a network to train. Matrices that only select channels are structure and stay as they are."""
    module = to_torch(network, trainable=True)
    for name in network.arrays:
        if is_selection(name):
            module.array(name).requires_grad_(False)  # noqa: FBT003  Its only parameter.
    return module


def normalised(module: torch.nn.Module, data: Dataset) -> torch.nn.Module:
    """Return a module behind the mean and deviation of images' channels; as it is for other data."""
    if len(data.shape) != 3:
        return module
    values = data.values if len(data) <= 5000 else data.values[:: len(data) // 5000]
    x = values.astype(np.float64) / (255 if values.dtype == np.uint8 else 1)
    mean, deviation = x.mean(axis=(0, 2, 3)), np.maximum(x.std(axis=(0, 2, 3)), LEAST_DEVIATION)
    return Normalised(module, mean=torch.tensor(mean).float(), deviation=torch.tensor(deviation).float())


def check_output(module: torch.nn.Module, data: Dataset) -> None:
    """Check that a module takes the data and says something of each class.

    Raises:
        InvalidNetwork: it fails, or its output is not ``[batch, classes]``.
    """
    modes = {part: part.training for part in module.modules()}
    device = next((value.device for value in module.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad():
            found = module.eval()(torch.from_numpy(data.take(2).x).to(device))
    except InvalidNetwork:
        raise
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise InvalidNetwork(f"it cannot take samples of shape {list(data.shape)}: {first_line(error)}") from error
    finally:
        for part, mode in modes.items():
            part.training = mode
    shape = list(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
    if not isinstance(found, torch.Tensor) or found.ndim != 2 or found.shape[1] < data.class_count:
        expected = f"[batch, {data.class_count}], a logit a class"
        raise InvalidNetwork(f"its output has shape {shape}, expected {expected}")


def network_of(module: torch.nn.Module, original: Network | None, data: Dataset) -> Network:
    """Return a trained module as a network in normal form.

    Args:
        module: what was trained.
        original: the network that it was, if it came from one.
        data: for an example of the input.

    Raises:
        InvalidNetwork: torch cannot export it.
    """
    if isinstance(module, TorchNetwork) and original is not None:
        return original.replace(arrays=module.arrays())
    example = torch.from_numpy(data.take(2).x)
    return load(from_torch(module.cpu(), example))
