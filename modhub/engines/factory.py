"""A classifier that a function of the caller's own code makes: ``package.module:factory``.

This runs that code, so it is for one's own: no package, recipe or lock ever names a factory. The weights come from a
safetensors file, which holds numbers and nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import torch

from modhub import fsops
from modhub.engines.export import from_torch
from modhub.engines.foreign import first_line
from modhub.engines.pickles import refuse_pickle
from modhub.errors import FormatError, InvalidNetwork, NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

WEIGHTS_LIMIT = 1 << 34
"""Bytes; larger classifiers come as ONNX with external data."""

SHOWN = 5
"""How many arrays a message lists."""


def from_factory(text: str, *, weights: Path | None, input_shape: Sequence[int]) -> bytes:
    """Return what a factory makes as an ONNX model.

    Args:
        text: ``package.module:factory``; the factory is called without arguments and returns a `torch.nn.Module`.
        weights: safetensors file with exactly the module's arrays; None where the factory loads them itself.
        input_shape: shape of one float32 input, without the batch.

    Raises:
        NotFound: there is no such module, factory or file.
        UsageError: the shape is missing or no shape, or the weights are a pickle.
        FormatError: the weights are no safetensors file.
        InvalidNetwork: the factory fails, its arrays and the file's differ, or torch cannot export the module.
    """
    example = example_of(input_shape)
    if weights is not None:
        refuse_pickle(weights)
    module = checked_module(_called(find_factory(text), text))
    if weights is not None:
        load_weights(module, weights)
    return from_torch(module, example)


def example_of(shape: Sequence[int]) -> torch.Tensor:
    """Return a batch of inputs of a shape.

    Raises:
        UsageError: there is no shape, or it holds a size below one.
    """
    if not shape or any(size < 1 for size in shape):
        raise UsageError(f"a model in torch needs the shape of one input, such as 3,32,32; got {list(shape)}")
    return torch.zeros(2, *shape)


def checked_module(module: object) -> torch.nn.Module:
    """Return a module as it is.

    Raises:
        InvalidNetwork: it is none.
    """
    if not isinstance(module, torch.nn.Module):
        raise InvalidNetwork(f"expected a torch.nn.Module, got {type(module).__name__}")
    return module


def find_factory(text: str) -> Callable[[], object]:
    """Return the function that ``package.module:factory`` names.

    Raises:
        NotFound: there is no such module, or nothing of this name in it.
        UsageError: importing the module fails, or what was named cannot be called.
    """
    home, _, name = text.partition(":")
    try:
        found: object = importlib.import_module(home)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{home}.".startswith(f"{error.name}."):
            raise NotFound(f"there is no module {error.name!r} to import {text} from") from error
        raise UsageError(f"importing {home} failed: {first_line(error)}") from error
    except Exception as error:  # Whatever the caller's code raises.
        raise UsageError(f"importing {home} failed: {type(error).__name__}: {first_line(error)}") from error
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise NotFound(f"{home} has no {name!r}")
    if not callable(found):
        raise UsageError(f"{text} is no function, but {type(found).__name__}")
    return found


def _called(factory: Callable[[], object], text: str) -> object:
    try:
        return factory()
    except Exception as error:  # Whatever the caller's code raises.
        raise InvalidNetwork(f"{text}() failed: {type(error).__name__}: {first_line(error)}") from error


def load_weights(module: torch.nn.Module, path: Path) -> None:
    """Put the arrays of a safetensors file into a module; every array of either must be in both.

    Raises:
        NotFound: there is no such file.
        FormatError: it is no safetensors file.
        InvalidNetwork: names or shapes differ; lists them.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        found = load(fsops.read_file(path.resolve(), limit=WEIGHTS_LIMIT))
    except SafetensorError as error:
        raise FormatError(f"is no safetensors file: {first_line(error)}", file=str(path)) from error
    expected = module.state_dict()
    problems = [*_differences(expected, found)]
    if problems:
        rest = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise InvalidNetwork(f"does not fit the model: {'; '.join(problems[:SHOWN])}{rest}", file=str(path))
    module.load_state_dict(found, strict=False)


def _differences(expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> list[str]:
    # safetensors stores an array that two layers share once.
    present = {array.data_ptr() for name, array in expected.items() if name in found}
    missing = [f"it lacks {name}" for name, array in expected.items() if array.data_ptr() not in present]
    unknown = [f"the model has no {name}" for name in found if name not in expected]
    shapes = [
        f"{name} is {list(array.shape)}, the model's is {list(expected[name].shape)}"
        for name, array in found.items()
        if name in expected and array.shape != expected[name].shape
    ]
    return missing + unknown + shapes
