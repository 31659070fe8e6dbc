"""The systems that split a network into class modules. Each is one file and needs torch."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Protocol

from modhub.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from modhub.datasets import Dataset
    from modhub.decomposers.options import Options, Progress
    from modhub.network.modules import Decomposition
    from modhub.network.network import Network

METHODS = {
    "cnnsplitter": "modhub.decomposers.cnnsplitter:cnnsplitter",
    "gradsplitter": "modhub.decomposers.gradsplitter:gradsplitter",
    "moda": "modhub.decomposers.moda:moda",
    "saliency": "modhub.decomposers.saliency:saliency",
    "weightmask": "modhub.decomposers.weightmask:weightmask",
}
"""Method names and where their functions live."""


class Decomposer(Protocol):
    """A function that splits a network."""

    def __call__(
        self, network: Network, train: Dataset, validation: Dataset, *, options: Options, progress: Progress
    ) -> Decomposition:
        """Return the network's classes as modules."""
        ...


def find_decomposer(method: str) -> Decomposer:
    """Return the decomposer of a method.

    Raises:
        UsageError: there is no such method.
        MissingExtra: torch is not installed.
    """
    if method not in METHODS:
        raise UsageError(f"there is no method {method!r}; the methods are {', '.join(METHODS)}")
    if importlib.util.find_spec("torch") is None:
        raise MissingExtra("torch", extra="torch", purpose="decomposing")
    module, _, name = METHODS[method].partition(":")
    decomposer: Decomposer = getattr(importlib.import_module(module), name)
    return decomposer
