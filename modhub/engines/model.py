"""`Model`: anything that scores inputs, from wherever it comes.

=============================== ====================================================
``pets``                        the folder of a base, module or composite
``resnet20.onnx``               any classifier in ONNX, also as bytes
``sample:cifar10-resnet20``     a classifier that ships with modhub
``package.module:factory``      a function of the caller's own code
a `torch.nn.Module`             with the shape of its input, or an example of it
=============================== ====================================================
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modhub.datasets import read_sample
from modhub.engines.pickles import refuse_pickle
from modhub.errors import InvalidNetwork, MissingExtra, UsageError
from modhub.network.load import load
from modhub.package.folder import read_package
from modhub.package.materialise import network_of
from modhub.package.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from modhub.network.network import Network
    from modhub.package.package import Package

FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
SAMPLE = "sample:"
ONNX = ".onnx"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network, and what its columns are called.

    Args:
        network: what it computes.
        columns: the class of each score, in order.
        calibrated: whether a score is a calibrated logit, so that its sigmoid is a probability.
        package: the package it was read from, if any.
    """

    network: Network
    columns: tuple[str, ...]
    calibrated: bool = False
    package: Package | None = None

    @classmethod
    def of(cls, network: Network, *, columns: Sequence[str] = ()) -> Model:
        """Return a network with names for its columns; without any they are numbered.

        Raises:
            UsageError: there are more or fewer names than columns.
        """
        names, count = tuple(columns), len(numbered(network))
        if names and len(names) != count:
            raise UsageError(f"there are {len(names)} class names, and the network has {count} classes")
        return cls(network=network, columns=names or numbered(network))

    @classmethod
    def of_package(cls, package: Package, network: Network) -> Model:
        """Return a package with what it computes."""
        output = package.manifest.output
        return cls(
            network=network,
            columns=tuple(label.name for label in package.manifest.classes),
            calibrated=output.calibration is not None or output.semantic == "scores",
            package=package,
        )

    @property
    def is_named(self) -> bool:
        """Whether the columns have names of their own."""
        return self.columns != numbered(self.network)

    @property
    def reject(self) -> float | None:
        """The probability below which a composite answers "none of these"; None where it always answers."""
        method = self.package.manifest.method if self.package else None
        found = method.parameters.get("reject") if method and method.name == "compose" else None
        return float(found) if isinstance(found, (int, float)) and 0 < found < 1 else None

    def to_torch(self) -> torch.nn.Module:
        """Return the model as a trainable `torch.nn.Module` with the same scores.

        Raises:
            MissingExtra: torch is not installed.
            UnsupportedOperator: torch cannot compute one of its nodes.
        """
        need_torch("a torch.nn.Module")
        from modhub.engines import torch_engine

        return torch_engine.to_torch(self.network, trainable=True)


def numbered(network: Network) -> tuple[str, ...]:
    """Return names for the columns of a network that has none."""
    return tuple(f"class-{row}" for row in range(int(network.output_shape[-1])))


def open_model(
    source: str | Path | bytes | torch.nn.Module,
    *,
    columns: Sequence[str] = (),
    weights: Path | None = None,
    input_shape: Sequence[int] = (),
    example: torch.Tensor | None = None,
) -> Model:
    """Return the model that a source stands for; see `modhub.flow.load`."""
    if isinstance(source, (str, Path)) and Path(source).is_dir():
        with Worker() as worker:
            worker.start()  # It gets ready while the files are read.
            package, base = read_package(Path(source), verify=worker.verify)
        return Model.of_package(package, network_of(package, base))
    if isinstance(source, str) and is_factory(source):
        need_torch("a model that is written in torch")
        from modhub.engines.factory import from_factory

        return Model.of(load(from_factory(source, weights=weights, input_shape=input_shape)), columns=columns)
    if isinstance(source, (str, Path)):
        return Model.of(_load_file(str(source)), columns=columns)
    if not isinstance(source, bytes):
        source = _exported(source, input_shape=input_shape, example=example)
    return Model.of(load(source), columns=columns)


def is_factory(text: str) -> bool:
    """Tell whether a text names a function of the caller's own code, ``package.module:factory``."""
    return not text.startswith(SAMPLE) and bool(FACTORY.fullmatch(text)) and not Path(text).exists()


def need_torch(purpose: str) -> None:
    """Check that torch is installed.

    Raises:
        MissingExtra: it is not.
    """
    if importlib.util.find_spec("torch") is None:
        raise MissingExtra("torch", extra="torch", purpose=purpose)


def _load_file(source: str) -> Network:
    if source.startswith(SAMPLE):
        return load(read_sample(source.removeprefix(SAMPLE).removesuffix(ONNX) + ONNX))
    refuse_pickle(Path(source))
    try:
        return load(Path(source))
    except InvalidNetwork as error:
        raise (error if error.file else error.in_file(source)) from error.__cause__


def _exported(module: object, *, input_shape: Sequence[int], example: torch.Tensor | None) -> bytes:
    need_torch("a model that is written in torch")
    from modhub.engines.export import from_torch
    from modhub.engines.factory import checked_module, example_of

    return from_torch(checked_module(module), example_of(input_shape) if example is None else example)
