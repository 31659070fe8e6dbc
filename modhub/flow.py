"""The verbs, as short functions. Read this first: it is the whole product on one page.

```
torch module or .onnx --load--> Model --decompose--> Decomposition --pack--> packages --publish--> releases
requirements --resolve--> Lock --install--> packages --gather, compose--> Composite --run--> scores
```

Each verb is one call into the folder of its step. Heavy libraries are imported inside, so that looking things up costs
nothing: only `load` of a torch module, `decompose` and `to_torch` need torch.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from modhub.errors import InvalidData, NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt
    import torch

    from modhub.composer.compose import Composite, Part
    from modhub.composer.patch import Options as PatchOptions
    from modhub.composer.patch import Patched
    from modhub.datasets import Dataset
    from modhub.decomposers.options import Options as DecomposeOptions
    from modhub.decomposers.options import Progress
    from modhub.engines.evaluation import Evaluation
    from modhub.engines.model import Model
    from modhub.engines.runtime import Session
    from modhub.engines.torch_session import TorchSession
    from modhub.hub.client import PublishResult, SearchResult
    from modhub.hub.mirror import Copy
    from modhub.hub.search import Query
    from modhub.hub.transfer import Progress as Transferred
    from modhub.network.modules import Decomposition
    from modhub.network.network import Network
    from modhub.package.pack import Release
    from modhub.package.package import Package
    from modhub.resolver.options import Options as ResolveOptions
    from modhub.spec.index import Index
    from modhub.spec.lock import Lock
    from modhub.spec.lock import Request as LockRequest
    from modhub.training.options import Options as TrainOptions
    from modhub.training.train import Trained
    from modhub.workspace import Workspace
    from modhub.workspace.audit import Finding
    from modhub.workspace.signatures import Signatures

ENGINES = ("onnxruntime", "torch")

Scorer: TypeAlias = "Model | Composite | Network"
"""What can be run and measured."""


def load(
    model: str | Path | bytes | torch.nn.Module,
    *,
    columns: Sequence[str] = (),
    weights: Path | None = None,
    input_shape: Sequence[int] = (),
    example: torch.Tensor | None = None,
) -> Model:
    """Return something that scores, with its network in normal form.

    Args:
        model: an ``.onnx`` file or its bytes; the folder of a base, module or composite; a `torch.nn.Module`;
            ``package.module:factory``, a function of your own code that makes one; or ``sample:NAME``, which ships
            with modhub.
        columns: the class names of a model that is no package; otherwise its classes are numbered.
        weights: safetensors file for a factory's module.
        input_shape: shape of one float32 input of a torch module, without the batch.
        example: a batch that a torch module takes, where its input is something else.

    Raises:
        NotFound: there is no such file, folder, factory or sample.
        InvalidPackage: the package breaks the format.
        InvalidNetwork: the model is no classifier modhub can represent.
        UsageError: it is a pickle, or the shape of the input is not known.
        MissingExtra: it needs torch, which is not installed.
    """
    from modhub.engines.model import open_model

    return open_model(model, columns=columns, weights=weights, input_shape=input_shape, example=example)


def train(
    model: str | Path | torch.nn.Module | Model | Network,
    data: Dataset,
    folder: Path,
    *,
    validation: Dataset | None = None,
    options: TrainOptions | None = None,
    weights: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Trained:
    """Return a classifier trained on labelled data, plainly or towards modularity (MODA), after writing it.

    The folder then holds ``model.onnx`` and ``weights.safetensors``, for `load` and `decompose`, the report
    ``train.json``, checkpoints and a log for TensorBoard. Started by `accelerate launch` or `torchrun`, all processes
    share the work.

    Args:
        model: ``package.module:factory``, a `torch.nn.Module` (trained in place), or anything `load` opens.
        data: labelled samples to learn from.
        folder: where everything goes; made where there is none.
        validation: labelled samples to measure on; by default a fifth of `data`.
        options: how to train; `modhub.training.options.Options.fine_tuning()` suits a trained model.
        weights: safetensors file for a factory's module to begin with.
        resume: go on from the folder's last checkpoint, if it holds one.
        progress: called with a dictionary after every epoch, in the first process.

    Raises:
        MissingExtra: torch, accelerate or tensorboardX is not installed.
        UsageError: there is nothing to train, no such device, or the checkpoint belongs to another run.
        InvalidData: the data has no labels, or does not fit.
        InvalidNetwork: the model does not take the data, or torch cannot export it.
    """
    from modhub.engines.model import need_torch

    need_torch("training")
    from modhub.training.options import Options
    from modhub.training.train import train as train_model

    return train_model(
        model,
        data,
        folder=Path(folder),
        options=options or Options(),
        validation=validation,
        weights=weights,
        resume=resume,
        progress=progress or (lambda _: None),
    )


def decompose(
    model: Model | Network,
    data: Dataset,
    *,
    method: str = "gradsplitter",
    validation: Dataset | None = None,
    options: DecomposeOptions | None = None,
    progress: Progress | None = None,
    partial: Path | None = None,
    resume: bool = False,
) -> Decomposition:
    """Return a classifier's classes as modules.

    With a folder for unfinished work, a run that was killed can be resumed, and gives what it would have given. The
    folder is made when there is something to keep, and left for the caller to delete once the modules are safe.

    Args:
        model: the parent, from `load`.
        data: inputs to learn from.
        method: the decomposer's name.
        validation: held-out labelled data; by default a fifth of `data`.
        options: what to aim for.
        progress: called with a dictionary after every step.
        partial: folder for unfinished work.
        resume: go on with what `partial` holds, if it holds anything.

    Raises:
        MissingExtra: torch is not installed.
        UsageError: there is no such method or device, or `partial` holds work that is not to be resumed, or other work.
        DecomposeError: the network does not split that way.
        InvalidData: the data does not fit the network.
    """
    from modhub.decomposers import find_decomposer
    from modhub.decomposers.options import Options, silent
    from modhub.engines.model import Model

    options, parent = options or Options(), as_model(model)
    decomposer = find_decomposer(method)
    # Only now is it known that torch is installed.
    from modhub.engines.devices import check_device

    check_device(options.device)
    classes = parent.columns if parent.is_named or data.classes is None else data.classes
    classes = Model.of(parent.network, columns=classes).columns
    data = dataclasses.replace(data.fitted(parent.network.input, classes=classes), classes=classes)
    train, held_out = data.split(seed=options.seed) if validation is None else (data, validation)
    held_out = held_out.fitted(parent.network.input, classes=classes)
    if held_out.y is None:
        raise InvalidData("the validation data has no labels", where="y", file=held_out.name)
    if partial is not None:
        from modhub.decomposers.unfinished import keep_unfinished

        work = keep_unfinished(Path(partial), parent.network, train, held_out, method=method, options=options)
        work.check(resume=resume)
        options = dataclasses.replace(options, checkpoint=work)
    return decomposer(parent.network, train, held_out, options=options, progress=progress or silent)


def pack(
    decomposition: Decomposition,
    release: Release | None = None,
    *,
    samples: Dataset | None = None,
    validation: Dataset | None = None,
) -> tuple[Package, ...]:
    """Return a decomposition as packages: the base, then one per class.

    Without labels of its own, the release calls the parent's classes as the modules do.

    Args:
        decomposition: from `decompose`.
        release: what is said about all packages, and the forms that modules travel in.
        samples: for the form ``int8``: inputs that show which values occur inside the modules.
        validation: for the form ``int8``: held-out labelled data to calibrate its scores on, and to measure it.

    Raises:
        InvalidName: two classes would have the same package name.
        DecomposeError: the release has the form ``int8`` and there is no data for it, or the other way round.
        InvalidData: the data does not fit, or has no labels.
    """
    from modhub.engines.model import numbered
    from modhub.package import pack as packing

    release, labels = release or packing.Release(), list(numbered(decomposition.parent))
    for module in decomposition.modules:
        labels[module.row] = module.label
    quantise = None
    if samples is not None and validation is not None:
        from modhub.engines.quantise import quantiser

        quantise = quantiser(decomposition, samples=samples, validation=validation)
    named = dataclasses.replace(release, labels=release.labels or tuple(labels))
    return packing.pack(decomposition, named, quantise=quantise)


def write_collection(
    packages: Sequence[Package], folder: Path, *, summary: str = "", extra: Mapping[str, bytes] | None = None
) -> Path:
    """Write packages as a collection folder, whole or not at all; returns the folder.

    Args:
        packages: bases and modules, from `pack`.
        folder: must not exist, or be empty.
        summary: what the collection is, in a sentence.
        extra: more files for the folder, which belong to no package.

    Raises:
        StorageError: the folder exists and is not empty, or cannot be written.
    """
    from modhub import fsops
    from modhub.package.folder import collection_files

    fsops.write_folder(Path(folder), {**collection_files(packages, summary=summary), **(extra or {})})
    return Path(folder)


def check(folder: Path, *, engine: str = "onnxruntime") -> tuple[Package, ...]:
    """Return the verified packages of a package or collection folder; golden pairs are run again.

    Args:
        folder: of a package or a collection.
        engine: what runs the pairs of composites, ``onnxruntime`` or ``torch``; eight bits run in the first only.

    Raises:
        UsageError: there is no such engine.
        MissingExtra: torch is asked for and not installed.
        NotFound: there is neither here.
        InvalidPackage: with every problem found.
        ComposeError: a composite, or a module in eight bits, scores its golden input differently than recorded.
    """
    from modhub.engines.golden import replay
    from modhub.package.folder import INDEX_FILE, read_collection, read_package
    from modhub.package.int8 import INT8, INT8_GOLDEN, read_int8
    from modhub.package.materialise import network_of
    from modhub.package.worker import Worker

    folder = Path(folder)
    with Worker() as worker:
        if (folder / INDEX_FILE).is_file():
            packages = read_collection(folder, verify=worker.verify)
        else:
            packages = (read_package(folder, verify=worker.verify)[0],)
    for package in packages:
        if package.manifest.kind == "composite":
            network = network_of(package)
            replay(package, network, session=_session(network, engine))
        if INT8 in package.manifest.forms:
            replay(package, read_int8(package), file=INT8_GOLDEN)
    return packages


def publish(
    packages: Sequence[Package],
    *,
    to: str,
    collection: str,
    message: str = "",
    dry_run: bool = False,
    private: bool = False,
    store: Path | None = None,
    signatures: Mapping[str, str] | None = None,
) -> PublishResult:
    """Publish packages into a collection of a registry as one atomic commit.

    Args:
        packages: from `pack` or `check`.
        to: the registry's address; a folder is made where there is none.
        collection: ``owner/name``.
        message: what changed, for the registry's history.
        dry_run: check everything, and say what would be published.
        private: show a new collection to nobody else, where the registry is a server.
        store: folder of fetched files; the user's own by default.
        signatures: by the digests of the packages, from `modhub.workspace.signatures`.

    Raises:
        InvalidName: the collection is not called ``owner/name``.
        VersionTaken: a version exists with other content; nothing was published.
        HubError: the registry cannot be written.
    """
    from modhub.spec.names import CollectionId
    from modhub.workspace import Workspace

    client = Workspace.open([to], store=store, private=private).client
    name = CollectionId.parse(collection)
    return client.publish(name, packages, message=message, dry_run=dry_run, signatures=signatures)


def search(query: Query | str, *, workspace: Workspace | None = None) -> SearchResult:
    """Return the packages that fit a query, best first.

    Raises:
        HubError: a registry cannot be read.
    """
    from modhub.hub.search import Query

    return _workspace(workspace).client.search(Query(text=query) if isinstance(query, str) else query)


@dataclass(frozen=True, kw_only=True)
class Info:
    """What a registry knows of a collection, or of one package in it.

    Args:
        registry: the registry that was asked.
        collection: ``owner/name``.
        index: every release of the collection.
        package: the package that was asked for, if one was.
        dependents: full names of the packages that depend on it, in any collection of the registry.
    """

    registry: str
    collection: str
    index: Index
    package: str | None = None
    dependents: tuple[str, ...] = ()


def info(reference: str, *, workspace: Workspace | None = None) -> Info:
    """Return what a registry knows of ``owner/collection`` or ``owner/collection/name``.

    Raises:
        InvalidName: the reference is neither.
        NotFound: there is no such collection or package.
        HubError: the registry cannot be read.
    """
    from modhub.spec.names import CollectionId, PackageId

    package = PackageId.parse(reference) if reference.count("/") > 1 else None
    collection = package.collection if package else CollectionId.parse(reference)
    catalog = _workspace(workspace).catalog()
    found = catalog.snapshot(collection)
    if found is None:
        raise NotFound(f"there is no collection {collection} in {' or '.join(catalog.client.registries)}")
    if package is not None and not found.index.find(package.name):
        names = ", ".join(sorted({release.name for release in found.index.releases}))
        raise NotFound(f"{collection} has no package {package.name!r}; it has {names}")
    return Info(
        registry=found.registry,
        collection=str(collection),
        index=found.index,
        package=package.name if package else None,
        dependents=catalog.dependents(package) if package else (),
    )


def resolve(
    requirements: Sequence[str],
    *,
    workspace: Workspace | None = None,
    old: Lock | None = None,
    options: ResolveOptions | None = None,
    request: LockRequest | None = None,
    upgrading: Collection[str] = (),
) -> Lock:
    """Return a lock with exact releases that satisfy the requirements.

    Args:
        requirements: packages with versions, or classes; see `modhub.spec.requirements`.
        workspace: where to look.
        old: a lock whose versions are kept where they still fit.
        options: how to choose.
        request: the same as the lock says it, with fewer choices; one of the two will do.
        upgrading: full names of packages of the old lock whose newest releases are wanted.

    Raises:
        InvalidRequirement: a requirement cannot be parsed.
        ResolveError: nothing satisfies them; says which ones conflict and what to try.
    """
    from modhub.spec.names import PackageId

    packages = [PackageId.parse(name) for name in upgrading]
    return _workspace(workspace).resolve(requirements, options=options, request=request, old=old, upgrading=packages)


def install(
    lock: Lock,
    *,
    workspace: Workspace | None = None,
    progress: Transferred | None = None,
    signatures: Signatures | None = None,
) -> dict[str, Package]:
    """Return a lock's packages by full name, fetched into the store where needed, and verified.

    Args:
        lock: from `resolve`, or read from a file.
        workspace: where to look; the registries that the lock names are always asked.
        progress: called from any thread while bytes come.
        signatures: which keys are trusted, and whether each package must be signed.

    Raises:
        IntegrityError: bytes differ from what the lock promises, or are not signed as asked.
        HubError: a registry cannot be read.
    """
    return _workspace(workspace).install(lock, progress=progress, signatures=signatures)


def audit(lock: Lock, *, workspace: Workspace | None = None) -> tuple[Finding, ...]:
    """Return what has come to light about a lock's releases: yanked, deprecated, changed, or not to be combined.

    Raises:
        UsageError: the lock names a registry by an address of an unknown form.
    """
    from modhub.workspace.audit import audit as look_again

    return look_again(lock, _workspace(workspace))


def yank(reference: str, *, registry: str, reason: str | None, store: Path | None = None) -> str:
    """Mark a release as one that nobody should choose any more; existing locks still install it.

    Args:
        reference: ``owner/collection/name==1.0.0``.
        registry: the registry's address.
        reason: why, for the people who use it; None takes the mark back.
        store: folder of fetched files; the user's own by default.

    Returns:
        the release's full name and version, as in `reference`.

    Raises:
        UsageError: the reference names no single release, or the reason is empty.
        NotFound: there is no such release.
        HubError: the registry cannot be written.
    """
    from modhub.workspace import Workspace
    from modhub.workspace.references import named_release

    client = Workspace.open([registry], store=store).client
    package, version = named_release(reference, client)
    if reason is None:
        client.unyank(package, version=version)
    else:
        client.yank(package, version=version, reason=reason)
    return f"{package}=={version}"


def deprecate(reference: str, *, registry: str, reason: str | None, store: Path | None = None) -> str:
    """Say what to use instead of a release, which may still be chosen; arguments and errors are those of `yank`."""
    from modhub.workspace import Workspace
    from modhub.workspace.references import named_release

    client = Workspace.open([registry], store=store).client
    package, version = named_release(reference, client)
    client.deprecate(package, version=version, reason=reason)
    return f"{package}=={version}"


def mirror(
    source: str,
    target: str,
    *,
    collections: Sequence[str] = (),
    store: Path | None = None,
    progress: Transferred | None = None,
) -> tuple[Copy, ...]:
    """Copy collections from one registry to another, byte for byte; a bundle is a registry to read from.

    Args:
        source: the address of a registry, or the path of a bundle.
        target: the address of a registry.
        collections: ``owner/name``; without any, all that the source has.
        store: folder of fetched files; the user's own by default.
        progress: called from any thread while bytes come.

    Raises:
        NotFound: the source has no such collection.
        IntegrityError: a file is not the one that the source's index promises.
        CommitConflict: the target has a collection of that name with another history.
        HubError: a registry cannot be read or written.
    """
    from modhub.hub import mirror as copying
    from modhub.spec.names import CollectionId
    from modhub.workspace import Workspace

    client = Workspace.open([source, target], store=store).client
    wanted = [CollectionId.parse(name) for name in collections] or client.collections(registry=source)
    return tuple(copying.mirror(client, each, source=source, target=target, progress=progress) for each in wanted)


def bundle(
    collections: Sequence[str], path: Path, *, workspace: Workspace | None = None, progress: Transferred | None = None
) -> int:
    """Write whole collections as one file that `mirror` reads, and return its bytes.

    Args:
        collections: ``owner/name``.
        path: the file; an older one is replaced.
        workspace: its first registry is read.
        progress: called from any thread while bytes come.

    Raises:
        NotFound: the registry has no such collection.
        HubError: the registry cannot be read, or the file cannot be written.
    """
    from modhub.hub.bundle import write_bundle
    from modhub.spec.names import CollectionId

    wanted = [CollectionId.parse(name) for name in dict.fromkeys(collections)]
    return write_bundle(_workspace(workspace).client, wanted, Path(path), progress=progress)


def gather(
    requirements: Sequence[str],
    *,
    workspace: Workspace | None = None,
    lock: Lock | None = None,
    request: LockRequest | None = None,
) -> tuple[list[Part], str]:
    """Return what to compose, in the order asked, and the text of the lock that pins what came from registries.

    Args:
        requirements: requirements, paths of package or collection folders, or the path of one lock file or recipe.
        workspace: where to look for what is no path.
        lock: what pins the requirements; without it they are resolved.
        request: how to resolve them.

    Raises:
        ResolveError: nothing satisfies the requirements.
        NotFound: a path does not exist.
        InvalidPackage: a package breaks the format.
    """
    from modhub.workspace import Project, Workspace

    project = Project.of(requirements) if requirements else None
    if project is not None:
        workspace = workspace or Workspace.open(project.registries, names=project.names)
        requirements, request, kept = project.requirements, project.recipe.request(), project.read_lock()
        lock = lock or (kept if kept is not None and project.fits(kept) else None)
    return _workspace(workspace).gather(requirements, lock=lock, request=request)


def compose(  # noqa: PLR0913  Each is a choice of the caller.
    parts: Sequence[Part],
    *,
    name: str = "composite",
    version: str = "1.0.0",
    strategy: str = "auto",
    masks: str = "materialised",
    calibrate: Dataset | None = None,
    adapters: Collection[str] = (),
    reject: str | float | None = None,
    licence_conflicts: str = "refuse",
    lock: str = "",
) -> Composite:
    """Return modules as one runnable model, checked against the modules run alone.

    Args:
        parts: from `gather`.
        name: the composite's package name.
        version: its version.
        strategy: ``trunk``, ``parallel``, ``union`` or ``auto``.
        masks: of single weights, ``materialised`` or ``packed``.
        calibrate: labelled data that the scores are fitted to, one scale and offset per module, all together.
        adapters: ``layout``, ``range``, ``channels``, ``resize``: what may be done to the first one's input for others.
        reject: the probability below which the answer is "none of these", or ``auto``: one half, or on data to
            calibrate on, which then should hold samples of other classes, what tells these apart best.
        licence_conflicts: ``refuse`` modules whose licences forbid to make one model of them, or only ``warn``.
        lock: the text of the lock that pins the parts, to travel with the model.

    Raises:
        ComposeError: the modules do not fit together.
        InvalidData: the data to calibrate on does not fit, or is too small.
        UsageError: `reject` is no probability.
    """
    from modhub.composer.compose import compose as join_parts

    return join_parts(
        parts,
        name=name,
        version=version,
        strategy=strategy,
        masks=masks,
        calibrate=calibrate,
        adapters=adapters,
        reject=reject,
        licence_conflicts=licence_conflicts,
        lock=lock,
    )


def patch(
    weak: Model | Network,
    part: Part,
    options: PatchOptions,
    *,
    data: Dataset | None = None,
    test: Dataset | None = None,
    lock: str = "",
) -> Patched:
    """Return a weak model one of whose classes is scored by a module, and what that changed.

    Args:
        weak: the model to patch.
        part: the module, from `gather`.
        options: which class the module takes over, how its score joins the others, and what to call the result.
        data: labelled samples that neither was trained on, to fit the glue; a fifth of them chooses and measures.
        test: more labelled samples, to measure on alone.
        lock: the text of the lock that pins the module.

    Raises:
        ComposeError: the inputs differ and no adapter was declared, or the module does not score the class.
        InvalidData: the data does not fit, or lacks samples.
        UsageError: the weak model has no such class.
    """
    from modhub.composer.patch import patch as patch_model

    return patch_model(as_model(weak), part, options, data=data, test=test, lock=lock)


def write_package(package: Package, folder: Path) -> Path:
    """Write a package as a folder that `load` reads, whole or not at all; returns the folder.

    Raises:
        StorageError: the folder exists and is not empty, or cannot be written.
    """
    from modhub import fsops

    fsops.write_folder(Path(folder), package.files)
    return Path(folder)


def export(model: Model, *, to: str) -> dict[str, bytes]:
    """Return a package as files that other tools take, by name.

    Args:
        model: a base, module or composite, from `load`.
        to: ``onnx`` (one file with the weights inside), ``standalone`` (a package that needs no base), or ``oci`` (an
            image layout in a tar file).

    Raises:
        UsageError: there is no such form, it takes a package and the model is none, or it is too large for one file.
    """
    from modhub.package.exports import oci_layout, single_file, standalone

    if to == "onnx":
        return {"model.onnx": single_file(model.network, classes=model.columns)}
    if to not in ("standalone", "oci"):
        raise UsageError(f"there is no form {to!r} to export to; the forms are onnx, standalone, oci")
    if model.package is None:
        raise UsageError(f"only packages can be exported to {to}: load the folder of a base, module or composite")
    package = standalone(model.package, model.network)
    return package.contents() if to == "standalone" else {"package.tar": oci_layout(package)}


def run(target: Scorer, data: Dataset, *, engine: str = "onnxruntime") -> npt.NDArray[np.float32]:
    """Return the scores of a target for some inputs, ``[n, k]``.

    Args:
        target: what to run.
        data: the inputs.
        engine: what computes them, ``onnxruntime`` or ``torch``.

    Raises:
        InvalidData: the inputs do not fit.
        UsageError: there is no such engine.
        MissingExtra: torch is asked for and not installed.
    """
    network = as_model(target).network
    data = data.fitted(network.input)
    return _session(network, engine).run(data.x)


def evaluate(target: Scorer, data: Dataset, *, timed: bool = True) -> Evaluation:
    """Return a target's accuracy, precision, recall, calibration, size and latency on labelled data.

    Where only one of the two has names for its classes, both are taken to count the same ones.

    Raises:
        InvalidData: the data is unlabelled or does not fit.
    """
    from modhub.engines.evaluation import evaluate_network

    model = as_model(target)
    model, data = with_common_names(model, data)
    return evaluate_network(model.network, data, columns=model.columns, calibrated=model.calibrated, timed=timed)


def with_common_names(model: Model, data: Dataset) -> tuple[Model, Dataset]:
    """Return both with the class names of the one that has names, where they count the same classes."""
    whole = model.package is None or model.package.manifest.kind == "base"
    if data.classes is None and whole and data.class_count <= len(model.columns):
        return model, dataclasses.replace(data, classes=model.columns)
    if data.classes is not None and not model.is_named and len(data.classes) == len(model.columns):
        return dataclasses.replace(model, columns=data.classes), data
    return model, data


def to_torch(target: Scorer) -> torch.nn.Module:
    """Return a target as a trainable `torch.nn.Module` with the same scores.

    Raises:
        MissingExtra: torch is not installed.
        UnsupportedOperator: torch cannot compute one of its nodes.
    """
    return as_model(target).to_torch()


def as_model(target: Scorer) -> Model:
    """Return anything that scores as a model."""
    from modhub.composer.compose import Composite
    from modhub.engines.model import Model

    if isinstance(target, Composite):
        return Model.of_package(target.package, target.network)
    return target if isinstance(target, Model) else Model.of(target)


def _session(network: Network, engine: str) -> Session | TorchSession:
    """Return a network opened in an engine."""
    if engine == "onnxruntime":
        from modhub.engines.runtime import Session

        return Session(network)
    if engine != "torch":
        raise UsageError(f"there is no engine {engine!r}; the engines are {', '.join(ENGINES)}")
    from modhub.engines.model import need_torch

    need_torch("running in torch")
    from modhub.engines.torch_session import TorchSession

    return TorchSession(network)


def _workspace(given: Workspace | None) -> Workspace:
    from modhub.workspace import Workspace

    return given or Workspace.open()
