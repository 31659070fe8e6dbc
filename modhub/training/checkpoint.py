"""Checkpoints of training: safetensors files, one for the whole state and one for the best weights.

They hold numbers and a little JSON, so reading one runs no code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from modhub import fsops
from modhub.engines.foreign import first_line
from modhub.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = "modhub/training@1"
MODEL, OPTIMISER = "model/", "optimiser/"


@dataclass(frozen=True)
class State:
    """Where a run stands after an epoch.

    Args:
        epoch: epochs done.
        best: highest validation accuracy so far.
        run: what the run is about; a checkpoint continues only its own run.
        history: what was seen in each epoch.
        scaler: the loss scale of half precision.
        arrays: weights and optimiser state.
    """

    epoch: int
    best: float
    run: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]
    scaler: Mapping[str, float]
    arrays: Mapping[str, torch.Tensor] = field(repr=False)


def arrays_of(model: torch.nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return weights, buffers and the optimiser's state as named tensors of their own."""
    state = optimiser.state_dict()["state"]
    inner = {
        f"{OPTIMISER}{number}/{key}": torch.as_tensor(value)
        for number, entries in state.items()
        for key, value in entries.items()
        if value is not None
    }
    outer = {f"{MODEL}{name}": value for name, value in model.state_dict().items()}
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in (outer | inner).items()}


def put_back(arrays: Mapping[str, torch.Tensor], model: torch.nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Put named tensors from `arrays_of` into a model and its optimiser.

    Raises:
        FormatError: they do not fit the model.
    """
    weights = {name.removeprefix(MODEL): value for name, value in arrays.items() if name.startswith(MODEL)}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise FormatError(f"does not fit the model: {first_line(error)}") from error
    document = optimiser.state_dict()
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in arrays.items():
        if name.startswith(OPTIMISER):
            number, _, key = name.removeprefix(OPTIMISER).partition("/")
            state.setdefault(int(number), {})[key] = value
    optimiser.load_state_dict({**document, "state": state})


def write_state(path: Path, state: State) -> None:
    """Write a checkpoint in one step, over an older one.

    Raises:
        StorageError: the disk refuses; the older one is then as it was.
    """
    from safetensors.torch import save

    about = {
        "format": FORMAT,
        "epoch": state.epoch,
        "best": state.best,
        "run": dict(state.run),
        "history": [dict(entry) for entry in state.history],
        "scaler": dict(state.scaler),
    }
    fsops.replace_file(path, save(dict(state.arrays), metadata={"modhub": json.dumps(about)}))


def read_whole(path: Path) -> bytes:
    """Return the bytes of a file of one's own, however large.

    Raises:
        NotFound: there is none.
        StorageError: it cannot be read.
    """
    return fsops.read_file(path, limit=path.stat().st_size if path.is_file() else 1)


def read_state(path: Path) -> State:
    """Return the checkpoint in a file.

    Raises:
        NotFound: there is none.
        FormatError: it is no checkpoint of this version.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    data = read_whole(path)
    try:
        arrays = load(data)
        length = int.from_bytes(data[:8], "little")
        about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["modhub"])
        if about["format"] != FORMAT:
            raise FormatError(f"expected format {FORMAT}, got {about['format']!r}", file=str(path))
        return State(
            epoch=int(about["epoch"]),
            best=float(about["best"]),
            run=about["run"],
            history=tuple(about["history"]),
            scaler=about["scaler"],
            arrays=arrays,
        )
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"is no checkpoint of modhub: {first_line(error)}", file=str(path)) from error
