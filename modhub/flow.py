"""The verbs, as short functions. Read this first: it is the whole product on one page.

```
torch module or .onnx --load--> Network --decompose--> Decomposition --pack--> packages --publish--> releases
requirements --resolve--> Lock --install--> packages --compose--> Composite --run--> scores
```

Each verb is one call into the folder of its step. Heavy libraries are imported inside, so that looking things up costs
nothing: only `load` of a torch module and `decompose` need torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modhub.errors import InvalidData, NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from modhub.composer.compose import Composite, Part
    from modhub.datasets import Dataset
    from modhub.decomposers.options import Options, Progress
    from modhub.engines.evaluation import Evaluation
    from modhub.hub.client import PublishResult, SearchResult
    from modhub.hub.search import Query
    from modhub.network.modules import Decomposition
    from modhub.network.network import Network
    from modhub.package.pack import Release
    from modhub.package.package import Package
    from modhub.spec.index import Index
    from modhub.spec.lock import Lock
    from modhub.workspace import Workspace


def load(model: str | Path | bytes | Any, *, weights: Path | None = None, example: Any = None) -> Network:
    """Return a trained classifier as a network in normal form.

    Args:
        model: a path to an ``.onnx`` file, its bytes, ``package.module:factory`` (called without arguments, with
            `weights` as its safetensors file), or a `torch.nn.Module`.
        weights: safetensors file for a factory's module.
        example: a batch that a torch module takes, as a tensor.

    Raises:
        NotFound: there is no such file or factory.
        InvalidNetwork: the model is no classifier modhub can represent.
    """
    from modhub.network import load as loading

    if isinstance(model, (str, Path, bytes)) and not _is_factory(model):
        return loading.load(model)
    from modhub.engines.export import from_factory, from_torch

    if isinstance(model, str):
        return loading.load(from_factory(model, weights=weights, example=example))
    return loading.load(from_torch(model, example))


def _is_factory(model: str | Path | bytes) -> bool:
    return isinstance(model, str) and ":" in model and not model.endswith(".onnx") and not Path(model).exists()


def decompose(
    network: Network,
    data: Dataset,
    *,
    method: str = "gradsplitter",
    validation: Dataset | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Decomposition:
    """Return a network's classes as modules.

    Args:
        network: the parent, from `load`.
        data: inputs to learn from.
        method: the decomposer's name.
        validation: held-out labelled data; by default a fifth of `data`.
        options: what to aim for.
        progress: called with a dictionary after every step.

    Raises:
        MissingExtra: torch is not installed.
        UsageError: there is no such method.
        DecomposeError: the network does not split that way.
        InvalidData: the data does not fit the network.
    """
    from modhub.decomposers import find_decomposer
    from modhub.decomposers.options import Options, silent

    options = options or Options()
    decomposer = find_decomposer(method)
    data.check_fits(network.input)
    train, held_out = data.split(seed=options.seed) if validation is None else (data, validation)
    held_out.check_fits(network.input)
    if held_out.y is None:
        raise InvalidData("the validation data has no labels", where="y", file=held_out.name)
    return decomposer(network, train, held_out, options=options, progress=progress or silent)


def pack(decomposition: Decomposition, release: Release | None = None) -> tuple[Package, ...]:
    """Return a decomposition as packages: the base, then one per class.

    Raises:
        InvalidName: two classes would have the same package name.
    """
    from modhub.package import pack as packing

    return packing.pack(decomposition, release or packing.Release())


def write_collection(packages: Sequence[Package], folder: Path, *, summary: str = "", extra: Mapping[str, bytes] | None = None) -> Path:
    """Write packages as a collection folder, whole or not at all; returns the folder.

    Raises:
        StorageError: the folder exists and is not empty, or cannot be written.
    """
    from modhub import fsops
    from modhub.package.folder import collection_files

    fsops.write_folder(folder, {**collection_files(packages, summary=summary), **(extra or {})})
    return folder


def check(folder: Path) -> tuple[Package, ...]:
    """Return the verified packages of a package or collection folder.

    Raises:
        NotFound: there is neither here.
        InvalidPackage: with every problem found.
    """
    from modhub.package.folder import INDEX_FILE, read_collection, read_package

    folder = Path(folder)
    return read_collection(folder) if (folder / INDEX_FILE).is_file() else (read_package(folder)[0],)


def publish(
    packages: Sequence[Package], *, to: str, collection: str, message: str = "", dry_run: bool = False
) -> PublishResult:
    """Publish packages into a collection of a registry as one atomic commit.

    Raises:
        InvalidName: the collection is not called ``owner/name``.
        VersionTaken: a version exists with other content; nothing was published.
        HubError: the registry cannot be written.
    """
    from modhub.spec.names import CollectionId
    from modhub.workspace import Workspace

    workspace = Workspace.open([to])
    return workspace.client.publish(CollectionId.parse(collection), packages, message=message, dry_run=dry_run)


def search(query: Query | str, *, workspace: Workspace | None = None) -> SearchResult:
    """Return the packages that fit a query, best first.

    Raises:
        HubError: a registry cannot be read.
    """
    from modhub.hub.search import Query

    return _workspace(workspace).client.search(Query(text=query) if isinstance(query, str) else query)


@dataclass(frozen=True, kw_only=True)
class Info:
    """A collection's index, and the package asked for, if one was."""

    collection: str
    index: Index
    package: str | None
    dependents: tuple[str, ...]


def info(reference: str, *, workspace: Workspace | None = None) -> Info:
    """Return what a registry knows of ``owner/collection`` or ``owner/collection/name``.

    Raises:
        InvalidName: the reference is neither.
        NotFound: there is no such collection or package.
    """
    from modhub.spec.names import CollectionId, PackageId

    client = _workspace(workspace).client
    if reference.count("/") < 2:
        return Info(collection=reference, index=client.index(CollectionId.parse(reference)), package=None, dependents=())
    package = PackageId.parse(reference)
    index = client.index(package.collection)
    if not index.find(package.name):
        raise NotFound(f"{package.collection} has no package {package.name!r}")
    names = {release.name for release in index.releases for need in release.dependencies if need.package == f"./{package.name}"}
    return Info(collection=str(package.collection), index=index, package=package.name, dependents=tuple(sorted(names)))


def resolve(
    requirements: Sequence[str], *, workspace: Workspace | None = None, old: Lock | None = None, options: Any = None
) -> Lock:
    """Return a lock with exact releases that satisfy the requirements.

    Raises:
        InvalidRequirement: a requirement cannot be parsed.
        ResolveError: nothing satisfies them; says which ones conflict and what to try.
    """
    return _workspace(workspace).resolve(requirements, options=options, old=old)


def install(lock: Lock, *, workspace: Workspace | None = None) -> dict[str, Package]:
    """Return a lock's packages by full name, fetched into the store where needed, and verified.

    Raises:
        IntegrityError: bytes differ from what the lock promises.
        HubError: a registry cannot be read.
    """
    return _workspace(workspace).install(lock)


def gather(requirements: Sequence[str], *, workspace: Workspace | None = None) -> tuple[list[Part], str]:
    """Return what to compose, in the order asked, and the text of the lock that pins what came from registries.

    Args:
        requirements: requirements, paths of package or collection folders, or the path of one lock file.
        workspace: where to look for what is no path.

    Raises:
        ResolveError: nothing satisfies the requirements.
        NotFound: a path does not exist.
        InvalidPackage: a package breaks the format.
    """
    return _workspace(workspace).gather(requirements)


def compose(
    parts: Sequence[Part], *, name: str = "composite", version: str = "1.0.0", strategy: str = "auto", lock: str = ""
) -> Composite:
    """Return modules as one runnable model, checked against the modules run alone.

    Raises:
        ComposeError: the modules do not fit together.
    """
    from modhub.composer.compose import compose as join_parts

    return join_parts(parts, name=name, version=version, strategy=strategy, lock=lock)


@dataclass(frozen=True, kw_only=True)
class Runnable:
    """Something with scores: a network, what its columns are called, and whether they are calibrated."""

    network: Network
    columns: tuple[str, ...]
    calibrated: bool
    package: Package | None = None


def open_target(target: str | Path, *, columns: Sequence[str] = ()) -> Runnable:
    """Return what a path names: an ``.onnx`` file, or the folder of a module, base or composite.

    Raises:
        NotFound: there is nothing there.
        InvalidPackage: the package breaks the format.
        InvalidNetwork: the file is no classifier.
    """
    path = Path(target)
    if not path.is_dir():
        network = load(path)
        names = tuple(columns) or tuple(f"class-{row}" for row in range(int(network.output_shape[-1])))
        return Runnable(network=network, columns=names, calibrated=False)
    from modhub.package.folder import read_package
    from modhub.package.materialise import network_of

    package, base = read_package(path)
    names = tuple(label.name for label in package.manifest.classes)
    semantic = package.manifest.output
    calibrated = semantic.calibration is not None or semantic.semantic == "scores"
    return Runnable(network=network_of(package, base), columns=names, calibrated=calibrated, package=package)


def run(target: Runnable, data: Dataset) -> npt.NDArray[np.float32]:
    """Return the scores of a target for some inputs, ``[n, k]``, in ONNX Runtime.

    Raises:
        InvalidData: the inputs do not fit.
    """
    from modhub.engines.runtime import Session

    data.check_fits(target.network.input)
    return Session(target.network).run(data.x)


def evaluate(target: Runnable, data: Dataset, *, timed: bool = True) -> Evaluation:
    """Return a target's accuracy, precision, recall, calibration, size and latency on labelled data.

    Raises:
        InvalidData: the data is unlabelled or does not fit.
    """
    from modhub.engines.evaluation import evaluate_network

    columns = target.columns
    if target.package is None and data.classes is not None and len(data.classes) == len(columns):
        columns = data.classes
    return evaluate_network(target.network, data, columns=columns, calibrated=target.calibrated, timed=timed)


def _workspace(given: Workspace | None) -> Workspace:
    from modhub.workspace import Workspace

    return given or Workspace.open()
