"""The demo: split a real ResNet-20, publish its modules, install three of them, run them as one model.

Everything goes through the verbs of `modhub.flow`. The network and the images ship with modhub. A second run finds the
modules of the first and starts at publishing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modhub import flow, fsops
from modhub.datasets import load_dataset
from modhub.demo.picture import draw_scores
from modhub.errors import FormatError, UsageError
from modhub.metrics import accuracy
from modhub.package.pack import Release
from modhub.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from modhub.composer.compose import Part
    from modhub.datasets import Dataset
    from modhub.network.network import Network
    from modhub.package.package import Package

COLLECTION = "modhub/resnet20-cifar10"
CHOSEN = ("cat", "dog", "truck")
MODEL, TRAIN, TEST = "sample:cifar10-resnet20", "sample:cifar10-train", "sample:cifar10-test"
LICENSE = "BSD-2-Clause"
PICTURE_IMAGES = 12


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the final table."""

    what: str
    accuracy: float
    low: float
    high: float
    samples: int
    bytes: int
    kernels: float
    latency: float


@dataclass(frozen=True, kw_only=True)
class Story:
    """What the demo saw: the table, where everything lies, and how long it took."""

    rows: tuple[Row, ...]
    modules: tuple[dict[str, Any], ...]
    folder: Path
    picture: Path
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the story as plain values."""
        return {
            "rows": [vars(row) for row in self.rows],
            "modules": list(self.modules),
            "folder": str(self.folder),
            "picture": str(self.picture),
            "seconds": round(self.seconds, 2),
        }


def tell_story(folder: Path, *, say: Callable[[str], None], progress: Callable[[Any], None]) -> Story:
    """Run the whole story below `folder` and return what came of it.

    Without torch the modules of the embedded registry stand in for the decomposition.

    Raises:
        ModhubError: a step failed; the message says which file to look at.
    """
    started = time.monotonic()
    parent = flow.load(MODEL)
    network, test = parent.network, load_dataset(TEST)
    say(f"1. loaded {MODEL}: {network.parameters:,} parameters, ten classes of CIFAR-10")
    packages = modules_of(network, folder, say=say, progress=progress)
    say(f"3. packed a base and {len(packages) - 1} class modules: {sum(p.size for p in packages):,} bytes")
    registry = str(folder / "registry")
    result = flow.publish(packages, to=registry, collection=COLLECTION)
    state = "were there already" if result.already else "published in one commit"
    say(f"4. {len(packages)} releases {state} in {registry}")
    workspace = Workspace.open([registry], store=folder / "store")
    lock = flow.resolve([f"{COLLECTION}/{name}" for name in CHOSEN], workspace=workspace)
    fsops.replace_file(folder / "modhub.lock", lock.to_toml().encode())
    say(f"5. resolved and installed {', '.join(CHOSEN)}: {folder / 'modhub.lock'} pins {len(lock.modules)} releases")
    parts, text = flow.gather([str(folder / "modhub.lock")], workspace=workspace)
    composite = flow.compose(parts, name="cat-dog-truck", lock=text)
    replace_folder(folder / "composed", composite.package.files)
    say(f"6. composed them: {composite.strategy}, {composite.shared_nodes} computations run once instead of thrice")
    everything, _ = flow.gather([f"{COLLECTION}/{p.name}" for p in packages[1:]], workspace=workspace)
    rows = measure(network, packages, everything, composite.network, test)
    picture = folder / "scores.png"
    classes = tuple(label.name for label in composite.package.manifest.classes)
    fsops.replace_file(picture, picture_of(composite.network, test, classes))
    say(f"7. ran the composite on {len(test)} test images in ONNX Runtime; picture in {picture}")
    return Story(
        rows=rows,
        modules=tuple(module_row(package) for package in packages[1:]),
        folder=folder,
        picture=picture,
        seconds=time.monotonic() - started,
    )


def modules_of(
    network: Network, folder: Path, *, say: Callable[[str], None], progress: Callable[[Any], None]
) -> tuple[Package, ...]:
    """Return the packages of an earlier run, or of a new decomposition, or of the embedded registry without torch."""
    import importlib.util

    made = folder / "collection"
    if made.is_dir():
        say(f"2. found the modules of an earlier run in {made}; delete {folder} to split again")
        return packages_of(made)
    if importlib.util.find_spec("torch") is None:
        say(
            "2. torch is not installed, so the modules of the embedded registry are taken (pip install 'modhub[torch]')"
        )
        from modhub.hub.registries import seed_folder

        return flow.check(seed_folder() / COLLECTION)
    say("2. splitting it into ten class modules with GradSplitter, on 2,000 real images")
    packages = split(network, progress=progress)
    fsops.make_folder(folder)
    flow.write_collection(packages, made, summary="ResNet-20 for CIFAR-10, split into its ten classes by GradSplitter")
    return packages


def packages_of(made: Path) -> tuple[Package, ...]:
    """Return the packages that an earlier run made.

    Raises:
        UsageError: they are not what this version of modhub makes.
    """
    try:
        return flow.check(made)
    except FormatError as error:
        raise UsageError(f"{made} is damaged or from another version of modhub: delete {made.parent}") from error


def split(network: Network, *, progress: Callable[[Any], None]) -> tuple[Package, ...]:
    """Return the demo's packages, from the shipped network and images."""
    from modhub.decomposers.options import Options

    data = load_dataset(TRAIN)
    decomposition = flow.decompose(
        network, data, options=Options(max_loss=8.0, keep=0.6, steps=200, flip=True), progress=progress
    )
    release = Release(license=LICENSE, parent_name="resnet20-cifar10", labels=data.classes or ())
    return flow.pack(decomposition, release)


def replace_folder(folder: Path, files: Any) -> None:
    """Write a folder anew."""
    if folder.is_dir():
        for name in fsops.list_folder(folder):
            fsops.remove(folder / name)
    fsops.write_folder(folder, files)


def measure(
    network: Network, packages: Sequence[Package], everything: Sequence[Part], composed: Network, test: Dataset
) -> tuple[Row, ...]:
    """Return parent, all modules and the composite side by side, on the shipped test images."""
    from modhub.composer.join import join
    from modhub.engines.runtime import Session
    from modhub.package.materialise import network_of

    whole = join([(part.reference, network_of(part.package, part.base)) for part in everything])
    names = test.classes or ()
    chosen = [names.index(name) for name in CHOSEN]
    inside = np.isin(test.labels, chosen)
    column = np.array([chosen.index(label) if label in chosen else -1 for label in test.labels.tolist()])
    parent_scores = Session(network).run(test.x)
    kept = float(np.mean([package.manifest.metrics["kernels_kept"].value for package in packages[1:]]))
    picked = [package for package in packages if package.name in CHOSEN]
    few = float(np.mean([package.manifest.metrics["kernels_kept"].value for package in picked]))
    base = packages[0].size
    base_time, all_time, few_time = latencies([network, whole, composed], test)
    all_classes = test.labels, np.ones(len(test), dtype=np.bool_)
    some_classes = column, inside
    scores_all, scores_few = Session(whole).run(test.x), Session(composed).run(test.x)
    return (
        _row("parent", parent_scores, all_classes, base, 1.0, 1.0),
        _row(
            "ten modules, composed", scores_all, all_classes, sum(p.size for p in packages), kept, all_time / base_time
        ),
        _row(f"parent on {', '.join(CHOSEN)}", parent_scores[:, chosen], some_classes, base, 1.0, 1.0),
        _row(
            f"{', '.join(CHOSEN)} composed",
            scores_few,
            some_classes,
            base + sum(package.size for package in picked),
            few,
            few_time / base_time,
        ),
    )


def _row(what: str, scores: Any, truth: tuple[Any, Any], size: int, kernels: float, latency: float) -> Row:
    labels, inside = truth
    metric = accuracy(scores[inside], labels[inside], split="test")
    return Row(
        what=what,
        accuracy=metric.value,
        low=metric.low or 0.0,
        high=metric.high or 1.0,
        samples=int(inside.sum()),
        bytes=size,
        kernels=kernels,
        latency=round(latency, 3),
    )


def latencies(networks: Sequence[Network], data: Dataset, *, repeats: int = 9, batch: int = 32) -> list[float]:
    """Return the median CPU seconds of a batch per network, measured in turn so that a busy machine hits all alike."""
    from modhub.engines.runtime import Session

    x = data.take(batch).x
    sessions = [Session(network) for network in networks]
    times: list[list[float]] = [[] for _ in sessions]
    for _ in range(repeats + 1):
        for session, own in zip(sessions, times, strict=True):
            start = time.process_time()
            session.run(x)
            own.append(time.process_time() - start)
    return [float(np.median(own[1:])) for own in times]


def module_row(package: Package) -> dict[str, Any]:
    """Return a module's own numbers, and the data that they were measured on."""
    metrics = package.manifest.metrics
    names = ("precision", "recall", "f1", "kernels_kept", "weights_kept", "macs")
    return {
        "module": package.name,
        "bytes": package.size,
        "split": next((metric.split for metric in metrics.values() if metric.split), "no"),
        **{name: metrics[name].value for name in names if name in metrics},
    }


def picture_of(network: Network, test: Dataset, classes: tuple[str, ...]) -> bytes:
    """Return a PNG of real test images of the chosen classes, and of one other class, with the composite's scores."""
    from modhub.engines.runtime import Session
    from modhub.metrics import sigmoid

    names = test.classes or ()
    per_class = PICTURE_IMAGES // (len(classes) + 1)
    wanted = [names.index(name) for name in (*classes, "ship")]
    picked = np.concatenate([np.flatnonzero(test.labels == label)[:per_class] for label in wanted])
    some = test.pick(picked)
    probabilities = sigmoid(Session(network).run(some.x))
    titles = [names[label] for label in some.labels.tolist()]
    return draw_scores(some.values, titles=titles, classes=classes, probabilities=probabilities)
