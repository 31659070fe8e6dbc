"""`Composite`, and how a joined network becomes a package."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from modhub.composer.licences import joined_licence, notice
from modhub.composer.part import METHOD
from modhub.engines.golden import GOLDEN_FILE
from modhub.network.cost import macs
from modhub.network.network import BATCH
from modhub.network.onnx_file import WEIGHTS_FILE, to_onnx
from modhub.package.int8 import INT8
from modhub.package.pack import RUNTIME, record, seal
from modhub.package.package import GRAPH_FILE
from modhub.spec import limits
from modhub.spec.manifest import ClassLabel, Dependency, Manifest, Method, Metric
from modhub.spec.ports import OutputPort

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modhub.composer.part import Part
    from modhub.composer.refit import Refit
    from modhub.composer.reject import Rejection
    from modhub.network.network import Array, Network
    from modhub.package.package import Package
    from modhub.spec.document import JSON

NOTICE_FILE = "NOTICE"
LOCK_FILE = "modhub.lock"
MODULES_ENTRY, LOCK_ENTRY, REJECT_ENTRY = "modhub.modules", "modhub.lock", "modhub.reject"
"""Metadata of the graph: a `model.onnx` that somebody passes on alone still says what it was made of."""


@dataclass(frozen=True, kw_only=True)
class Composite:
    """A composed model: its package, its network, and how it came about.

    `shared_nodes` counts computations that modules have in common and that now run once; `cost` is multiply-accumulates
    of the composite over the sum of its modules alone; `why` says in a sentence which strategy was taken and why;
    `refit` is what calibrating on data changed, and `rejection` when it answers "none of these", where that was asked
    for, `adapters` what parts are shown instead of the input, in words.
    """

    package: Package
    network: Network
    strategy: str
    why: str
    shared_nodes: int
    cost: float
    refit: Refit | None = None
    adapters: tuple[str, ...] = ()
    rejection: Rejection | None = None


@dataclass(frozen=True, kw_only=True)
class Naming:
    """What a composite is called: its package's name and version, and when it was made, RFC 3339 in UTC.

    The time is the same for all unless it is said: equal input gives equal bytes.
    """

    name: str
    version: str
    created: str = "2026-01-01T00:00:00Z"


def provenance(parts: Sequence[Part], lock: str) -> dict[str, str]:
    """Return the metadata entries of a composite's graph."""
    modules = [
        {"name": part.reference, "version": part.package.version, "manifest": part.package.digest} for part in parts
    ]
    entries = {MODULES_ENTRY: json.dumps(modules, sort_keys=True)}
    return {**entries, LOCK_ENTRY: lock} if lock else entries


def pack_composite(
    network: Network,
    parts: Sequence[Part],
    naming: Naming,
    *,
    golden: Mapping[str, Array],
    parameters: Mapping[str, JSON],
    metrics: Mapping[str, Metric],
    lock: str,
) -> Package:
    """Return a joined network as a package of kind ``composite``.

    `parameters` say how it was joined, `metrics` what is known of it.
    """
    licences = {part.label: part.package.manifest.terms for part in parts}
    # Whether they may be joined was asked before there was anything to pack.
    license = joined_licence(licences, refuse=False)
    texts = {part.label: part.package.read(NOTICE_FILE).decode() for part in parts if NOTICE_FILE in part.package.files}
    files = _files(network, golden=golden, notice=notice(licences, texts=texts), lock=lock)
    classes = [label for part in parts for label in part.package.manifest.classes]
    manifest = Manifest(
        kind="composite",
        name=naming.name,
        version=naming.version,
        created=naming.created,
        summary=_summary([label.name for label in classes]),
        license=license,
        classes=tuple(ClassLabel(name=label.name, wordnet=label.wordnet, aliases=label.aliases) for label in classes),
        input=network.input,
        output=OutputPort(name=network.output, shape=(BATCH, len(classes)), semantic="scores"),
        provides=tuple(dict.fromkeys(item for part in parts for item in part.package.manifest.provides)),
        dependencies=_dependencies(parts),
        runtime=RUNTIME,
        method=_method(parts, parameters),
        metrics={
            **metrics,
            "parameters": Metric(value=float(network.parameters)),
            "macs": Metric(value=float(macs(network))),
        },
        forms={"standalone": tuple(record(path, data) for path, data in sorted(files.items()))},
    )
    return seal(manifest, files)


def _files(network: Network, *, golden: Mapping[str, Array], notice: str, lock: str) -> dict[str, bytes]:
    from safetensors.numpy import save

    graph, weights = to_onnx(network)
    files = {
        GRAPH_FILE: graph,
        WEIGHTS_FILE: weights,
        GOLDEN_FILE: save({key: np.ascontiguousarray(value) for key, value in golden.items()}),
        NOTICE_FILE: notice.encode(),
    }
    return {**files, LOCK_FILE: lock.encode()} if lock else files


def _summary(classes: Sequence[str]) -> str:
    text = f"Scores {len(classes)} {'class' if len(classes) == 1 else 'classes'}: {', '.join(classes)}"
    return text if len(text) <= limits.SUMMARY_LENGTH else text[: limits.SUMMARY_LENGTH - 3] + "..."


def _method(parts: Sequence[Part], parameters: Mapping[str, JSON]) -> Method:
    parents = sorted(set().union(*(part.parents for part in parts)))
    calibrated = all(part.is_calibrated for part in parts)
    rounded = {"precision": INT8} if any(part.precision == INT8 for part in parts) else {}
    known: dict[str, JSON] = {**parameters, **rounded, "parents": parents, "calibrated": calibrated}
    return Method(name=METHOD, version="1", parameters=known)


def _dependencies(parts: Sequence[Part]) -> tuple[Dependency, ...]:
    """Return the parts that come from a registry; others have no name that somebody else could resolve."""
    return tuple(
        Dependency(package=part.reference, version=f"=={part.package.version}", sha256=part.package.digest)
        for part in parts
        if part.reference.count("/") == 2
    )
