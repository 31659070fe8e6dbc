"""The systems that split a network into class modules. Each is a file or a folder, and needs torch."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Protocol

from modhub import plugins
from modhub.errors import DecomposeError, InvalidPlugin, MissingExtra, UsageError

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
"""Method names and where their functions live; plugins add to them."""


class Decomposer(Protocol):
    """A function that splits a network."""

    def __call__(
        self, network: Network, train: Dataset, validation: Dataset, *, options: Options, progress: Progress
    ) -> Decomposition:
        """Return the network's classes as modules."""
        ...


def methods() -> tuple[str, ...]:
    """Return the names of all methods, those of plugins last."""
    return (*METHODS, *dict.fromkeys(plugin.name for plugin in plugins.installed(plugins.DECOMPOSERS, besides=METHODS)))


def find_decomposer(method: str) -> Decomposer:
    """Return the decomposer of a method.

    Raises:
        UsageError: there is no such method.
        MissingExtra: torch is not installed.
        InvalidPlugin: a plugin brings the method, and cannot be loaded.
    """
    plugin = None if method in METHODS else plugins.find(plugins.DECOMPOSERS, method)
    if method not in METHODS and plugin is None:
        raise UsageError(f"there is no method {method!r}; the methods are {', '.join(methods())}")
    if importlib.util.find_spec("torch") is None:
        raise MissingExtra("torch", extra="torch", purpose="decomposing")
    if plugin is not None:
        return _guarded(plugin)
    module, _, name = METHODS[method].partition(":")
    decomposer: Decomposer = getattr(importlib.import_module(module), name)
    return decomposer


def _guarded(plugin: plugins.Plugin) -> Decomposer:
    """Return a plugin's decomposer, whose result is checked and whose errors name it."""
    found = plugin.load()

    def decomposer(
        network: Network, train: Dataset, validation: Dataset, *, options: Options, progress: Progress
    ) -> Decomposition:
        from modhub.network.modules import Decomposition, check_module

        with plugin.running():
            result = found(network, train, validation, options=options, progress=progress)
        if not isinstance(result, Decomposition) or not result.modules:
            raise InvalidPlugin(f"{plugin} returned {type(result).__name__}, expected a Decomposition with modules")
        for module in result.modules:
            try:
                check_module(result.parent, result.sites, module)
            except DecomposeError as error:
                raise InvalidPlugin(f"{plugin} returned a module that does not fit its parent: {error}") from error
        return result

    return decomposer
