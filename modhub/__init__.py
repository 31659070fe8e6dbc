"""Split neural networks into class modules, share them as packages, compose new models.

The names below are the public interface, in the order of the story: the verbs, then the values they take and return,
then the errors. Each is imported when it is first used, so that `import modhub` costs nothing; `modhub.flow` holds the
verbs and is where reading starts.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modhub._version import __version__ as __version__
    from modhub.composer.compose import Composite as Composite
    from modhub.composer.compose import Part as Part
    from modhub.composer.patch import Options as _PatchOptions
    from modhub.composer.patch import Patched as Patched
    from modhub.datasets import Dataset as Dataset
    from modhub.datasets import load_dataset as load_dataset
    from modhub.decomposers.options import Options as _DecomposeOptions
    from modhub.engines.evaluation import Evaluation as Evaluation
    from modhub.engines.model import Model as Model
    from modhub.errors import ComposeError as ComposeError
    from modhub.errors import DecomposeError as DecomposeError
    from modhub.errors import FormatError as FormatError
    from modhub.errors import HubError as HubError
    from modhub.errors import IntegrityError as IntegrityError
    from modhub.errors import ModhubError as ModhubError
    from modhub.errors import NotFound as NotFound
    from modhub.errors import ResolveError as ResolveError
    from modhub.errors import UsageError as UsageError
    from modhub.flow import Info as Info
    from modhub.flow import audit as audit
    from modhub.flow import bundle as bundle
    from modhub.flow import check as check
    from modhub.flow import compose as compose
    from modhub.flow import decompose as decompose
    from modhub.flow import deprecate as deprecate
    from modhub.flow import evaluate as evaluate
    from modhub.flow import export as export
    from modhub.flow import gather as gather
    from modhub.flow import info as info
    from modhub.flow import install as install
    from modhub.flow import load as load
    from modhub.flow import mirror as mirror
    from modhub.flow import pack as pack
    from modhub.flow import patch as patch
    from modhub.flow import publish as publish
    from modhub.flow import resolve as resolve
    from modhub.flow import run as run
    from modhub.flow import search as search
    from modhub.flow import to_torch as to_torch
    from modhub.flow import train as train
    from modhub.flow import write_collection as write_collection
    from modhub.flow import write_package as write_package
    from modhub.flow import yank as yank
    from modhub.hub.client import PublishResult as PublishResult
    from modhub.hub.mirror import Copy as Copy
    from modhub.hub.search import Query as Query
    from modhub.hub.search import SearchResult as SearchResult
    from modhub.network.modules import ClassModule as ClassModule
    from modhub.network.modules import Decomposition as Decomposition
    from modhub.network.network import Network as Network
    from modhub.package.pack import Release as Release
    from modhub.package.package import Package as Package
    from modhub.resolver.options import Options as _ResolveOptions
    from modhub.resolver.options import Policy as Policy
    from modhub.spec.lock import Lock as Lock
    from modhub.training.options import Options as _TrainOptions
    from modhub.training.train import Trained as Trained
    from modhub.workspace import Workspace as Workspace
    from modhub.workspace.audit import Finding as Finding

    TrainOptions = _TrainOptions
    DecomposeOptions = _DecomposeOptions
    PatchOptions = _PatchOptions
    ResolveOptions = _ResolveOptions

_HOMES = {
    "load": "modhub.flow",
    "load_dataset": "modhub.datasets",
    "train": "modhub.flow",
    "decompose": "modhub.flow",
    "pack": "modhub.flow",
    "write_collection": "modhub.flow",
    "check": "modhub.flow",
    "publish": "modhub.flow",
    "search": "modhub.flow",
    "info": "modhub.flow",
    "resolve": "modhub.flow",
    "install": "modhub.flow",
    "audit": "modhub.flow",
    "yank": "modhub.flow",
    "deprecate": "modhub.flow",
    "mirror": "modhub.flow",
    "bundle": "modhub.flow",
    "gather": "modhub.flow",
    "compose": "modhub.flow",
    "patch": "modhub.flow",
    "write_package": "modhub.flow",
    "export": "modhub.flow",
    "run": "modhub.flow",
    "evaluate": "modhub.flow",
    "to_torch": "modhub.flow",
    "Model": "modhub.engines.model",
    "Dataset": "modhub.datasets",
    "Network": "modhub.network.network",
    "TrainOptions": "modhub.training.options:Options",
    "Trained": "modhub.training.train",
    "DecomposeOptions": "modhub.decomposers.options:Options",
    "Decomposition": "modhub.network.modules",
    "ClassModule": "modhub.network.modules",
    "Release": "modhub.package.pack",
    "Package": "modhub.package.package",
    "PublishResult": "modhub.hub.client",
    "Query": "modhub.hub.search",
    "SearchResult": "modhub.hub.search",
    "Info": "modhub.flow",
    "Workspace": "modhub.workspace",
    "ResolveOptions": "modhub.resolver.options:Options",
    "Policy": "modhub.resolver.options",
    "Lock": "modhub.spec.lock",
    "Finding": "modhub.workspace.audit",
    "Copy": "modhub.hub.mirror",
    "Part": "modhub.composer.compose",
    "Composite": "modhub.composer.compose",
    "PatchOptions": "modhub.composer.patch:Options",
    "Patched": "modhub.composer.patch",
    "Evaluation": "modhub.engines.evaluation",
    "ModhubError": "modhub.errors",
    "UsageError": "modhub.errors",
    "FormatError": "modhub.errors",
    "IntegrityError": "modhub.errors",
    "HubError": "modhub.errors",
    "NotFound": "modhub.errors",
    "DecomposeError": "modhub.errors",
    "ResolveError": "modhub.errors",
    "ComposeError": "modhub.errors",
    "__version__": "modhub._version",
}
"""Where each public name lives; after a colon, what it is called there."""

__all__ = [*_HOMES]  # noqa: PLE0604  The table is the list; type checkers read the imports above.


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, _, called = _HOMES[name].partition(":")
    value = globals()[name] = getattr(importlib.import_module(home), called or name)
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})
