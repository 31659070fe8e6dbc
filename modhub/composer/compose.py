"""Modules in, one runnable composite out.

The composite's graph is the join of its modules' graphs; nothing is retrained and no score changes. Before it is
returned, a golden input is run through every module alone and through the composite in ONNX Runtime.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from modhub.composer.join import join
from modhub.composer.licences import joined_licence, notice
from modhub.engines.runtime import Session
from modhub.errors import ComposeError, FormatError
from modhub.network.cost import macs
from modhub.network.network import BATCH
from modhub.network.onnx_file import WEIGHTS_FILE, to_onnx
from modhub.package.materialise import network_of
from modhub.package.pack import RUNTIME, record, seal
from modhub.package.package import GRAPH_FILE
from modhub.spec.digests import sha256
from modhub.spec.manifest import ClassLabel, Dependency, Manifest, Method, Metric
from modhub.spec.ports import OutputPort

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from modhub.network.network import Array, Network
    from modhub.package.package import Package
    from modhub.spec.ports import InputPort

STRATEGIES = ("auto", "trunk", "parallel")
GOLDEN_FILE = "golden.safetensors"
NOTICE_FILE = "NOTICE"
GOLDEN_SAMPLES = 4
TOLERANCE = 1e-4
"""Largest difference of a score between runtimes; the same runtime gives the same bits."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One module to compose: its full name, its verified package, and its base where it is a delta."""

    reference: str
    package: Package
    base: Package | None = None

    @property
    def parent(self) -> str:
        """Return the fingerprint of the module's parent; its own digest where it has none."""
        parent = self.package.manifest.parent
        return parent.sha256 if parent else sha256(self.package.manifest.to_json())

    @property
    def label(self) -> str:
        """Return the name and version that messages use."""
        return f"{self.reference} {self.package.version}"


@dataclass(frozen=True, kw_only=True)
class Composite:
    """A composed model: its package, its network, and how it came about.

    `shared_nodes` counts computations that modules have in common and that now run once; `cost` is multiply-accumulates
    of the composite over the sum of its modules alone; `why` says in a sentence which strategy was taken and why.
    """

    package: Package
    network: Network
    strategy: str
    why: str
    shared_nodes: int
    cost: float


def compose(
    parts: Sequence[Part],
    *,
    name: str = "composite",
    version: str = "1.0.0",
    created: str = "2026-01-01T00:00:00Z",
    strategy: str = "auto",
    lock: str = "",
) -> Composite:
    """Return the parts as one model with output `scores`, float32 ``[batch, k]``, columns in the order given.

    Args:
        parts: verified modules, each with one score.
        name: the composite's package name.
        version: its version.
        created: RFC 3339 time in UTC, for its manifest.
        strategy: ``trunk`` (modules of one parent; what they share runs once), ``parallel`` (any parents), or
            ``auto``.
        lock: the lock file's text, embedded in the model.

    Raises:
        ComposeError: the modules do not fit: inputs differ, a class occurs twice, a score is uncalibrated beside
            another parent's, precision or licence forbid it, or the composite fails its own check.
        FormatError: a package's files do not fit together.
    """
    chosen, why = choose_strategy(parts, strategy)
    check_fit(parts)
    networks = [network_of(part.package, part.base) for part in parts]
    network = join([(f"m{i}", own) for i, own in enumerate(networks)])
    network = network.replace(metadata=_provenance(parts, lock))
    golden = check_golden(networks, network, labels=[part.label for part in parts])
    own_cost = sum(macs(own) for own in networks)
    composite = pack_composite(network, parts, name=name, version=version, created=created, golden=golden, strategy=chosen)
    shared = sum(len(own.nodes) for own in networks) + 1 - len(network.nodes)
    return Composite(
        package=composite,
        network=network,
        strategy=chosen,
        why=why,
        shared_nodes=shared,
        cost=macs(network) / max(1, own_cost),
    )


def choose_strategy(parts: Sequence[Part], wish: str) -> tuple[str, str]:
    """Return the strategy taken and why, in a sentence.

    Raises:
        ComposeError: the wish is unknown, or ``trunk`` is asked for modules of several parents.
    """
    parents = {part.parent for part in parts}
    if wish not in STRATEGIES:
        raise ComposeError(f"there is no strategy {wish!r}; the strategies are {', '.join(STRATEGIES)}")
    if wish == "parallel":
        return "parallel", "asked for"
    if len(parents) == 1:
        return "trunk", "all modules come from one parent, so what they share runs once"
    if wish == "trunk":
        raise ComposeError(f"the modules come from {len(parents)} parents and share no trunk: use 'parallel' or 'auto'")
    return "parallel", f"the modules come from {len(parents)} parents and run side by side"


def check_fit(parts: Sequence[Part]) -> None:
    """Check that the parts can stand side by side.

    Raises:
        ComposeError: names both modules, the property, and both values.
    """
    if not parts:
        raise ComposeError("there is nothing to compose: no modules were given")
    first = parts[0]
    seen: dict[str, Part] = {}
    for part in parts:
        manifest = part.package.manifest
        if manifest.kind == "base":
            raise ComposeError(f"{part.label} is a base, not a module: ask for one of its modules")
        _check_input(first, part)
        for label in manifest.classes:
            if label.name in seen:
                other = seen[label.name].label
                raise ComposeError(f"{other} and {part.label} both score the class {label.name!r}: keep one of them")
            seen[label.name] = part
    _check_calibration(parts)


def _check_input(first: Part, part: Part) -> None:
    expected, found = first.package.manifest.input, part.package.manifest.input
    if found.key() != expected.key():
        raise ComposeError(f"{first.label} and {part.label} take different inputs: {expected} and {found}")


def _check_calibration(parts: Sequence[Part]) -> None:
    if len({part.parent for part in parts}) < 2:
        return
    for part in parts:
        output = part.package.manifest.output
        if output.semantic == "logit" and output.calibration is None:
            raise ComposeError(f"{part.label} has no calibrated score, so it cannot be compared with another parent's")


def _provenance(parts: Sequence[Part], lock: str) -> dict[str, str]:
    modules = [
        {"name": part.reference, "version": part.package.version, "manifest": sha256(part.package.manifest.to_json())}
        for part in parts
    ]
    metadata = {"modhub.modules": json.dumps(modules, sort_keys=True)}
    return {**metadata, "modhub.lock": lock} if lock else metadata


def golden_input(port: InputPort, *, samples: int = GOLDEN_SAMPLES) -> Array:
    """Return fixed pseudo-random inputs for a contract, the same on every machine."""
    shape = [samples, *(int(size) if isinstance(size, int) else 8 for size in port.shape[1:])]
    stream = np.random.PCG64(20_261_121).random_raw(int(np.prod(shape))).reshape(shape)
    if port.dtype == "int64":
        return (stream % np.uint64(port.vocabulary or 2)).astype(np.int64)
    low, high = port.range or (-1.0, 1.0)
    unit = (stream >> np.uint64(40)).astype(np.float64) / 2**24
    return (low + (high - low) * unit).astype(np.float32)


def check_golden(networks: Sequence[Network], joined: Network, *, labels: Sequence[str]) -> dict[str, Array]:
    """Return the golden input and scores of a composite, after comparing them with its modules run alone.

    Raises:
        ComposeError: a score differs from that of the module alone.
    """
    x = golden_input(joined.input)
    scores = Session(joined).run(x)
    alone = [Session(network).run(x) for network in networks]
    column = 0
    for label, own in zip(labels, alone, strict=True):
        found = scores[:, column : column + own.shape[1]]
        difference = float(np.abs(found - own).max())
        if not difference <= TOLERANCE:
            raise ComposeError(f"{label} scores {difference:.2g} differently inside the composite than alone")
        column += own.shape[1]
    return {"input": x, "scores": scores}


def pack_composite(
    network: Network,
    parts: Sequence[Part],
    *,
    name: str,
    version: str,
    created: str,
    golden: dict[str, Array],
    strategy: str,
) -> Package:
    """Return a joined network as a package of kind ``composite``."""
    from safetensors.numpy import save

    graph, weights = to_onnx(network)
    licences = {part.label: part.package.manifest.license for part in parts}
    files = {
        GRAPH_FILE: graph,
        WEIGHTS_FILE: weights,
        GOLDEN_FILE: save({key: np.ascontiguousarray(value) for key, value in golden.items()}),
        NOTICE_FILE: notice(licences).encode(),
    }
    classes = [label for part in parts for label in part.package.manifest.classes]
    manifest = Manifest(
        kind="composite",
        name=name,
        version=version,
        summary=f"Scores {len(classes)} classes: {', '.join(label.name for label in classes)}"[:500],
        license=joined_licence(licences.values()),
        created=created,
        classes=tuple(ClassLabel(name=label.name, wordnet=label.wordnet, aliases=label.aliases) for label in classes),
        input=network.input,
        output=OutputPort(name=network.output, shape=(BATCH, len(classes)), semantic="scores"),
        provides=tuple(dict.fromkeys(item for part in parts for item in part.package.manifest.provides)),
        dependencies=_dependencies(parts),
        runtime=RUNTIME,
        method=Method(name="compose", version="1", parameters={"strategy": strategy}),
        metrics={
            "parameters": Metric(value=float(network.parameters)),
            "macs": Metric(value=float(macs(network))),
        },
        forms={"standalone": tuple(record(path, data) for path, data in sorted(files.items()))},
    )
    return seal(manifest, files)


def _dependencies(parts: Sequence[Part]) -> tuple[Dependency, ...]:
    return tuple(
        Dependency(
            package=part.reference,
            version=f"=={part.package.version}",
            sha256=sha256(part.package.manifest.to_json()),
        )
        for part in parts
        if part.reference.count("/") == 2
    )


def labels_of(package: Package) -> tuple[str, ...]:
    """Return the names of a package's output columns, in order."""
    return tuple(label.name for label in package.manifest.classes)


def softmax(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return scores ``[n, k]`` as shares that sum to one per row."""
    shifted = scores.astype(np.float64) - scores.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def replay(package: Package, network: Network) -> None:
    """Run a composite's golden input again.

    Raises:
        FormatError: the package has no golden pair.
        ComposeError: the scores differ from those recorded.
    """
    from safetensors.numpy import load

    if GOLDEN_FILE not in package.files:
        raise FormatError("has no golden pair", file=GOLDEN_FILE)
    golden = load(package.files[GOLDEN_FILE])
    difference = float(np.abs(Session(network).run(golden["input"]) - golden["scores"]).max())
    if not difference <= TOLERANCE:
        raise ComposeError(f"{package.name} {package.version} scores {difference:.2g} differently than recorded")
