"""A decomposition as packages: one base and one package per class."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from modhub.errors import DecomposeError
from modhub.network.cost import macs
from modhub.network.modules import kernels, kernels_kept
from modhub.network.network import BATCH, IR_VERSION, OPSET
from modhub.network.onnx_file import WEIGHTS_FILE, fingerprint, to_onnx
from modhub.network.slice import SCORE, sliced
from modhub.package.card import render_card
from modhub.package.delta import DELTA_FILE, to_delta
from modhub.package.int8 import INT8, to_int8
from modhub.package.package import CARD_FILE, GRAPH_FILE, MANIFEST_FILE, Package
from modhub.package.sites_file import SITES_FILE, sites_to_json
from modhub.package.stem import (
    NO_STEM,
    STEM_FILE,
    VALUES_FILE,
    Stem,
    common_weights,
    from_stem,
    pays,
    pruned,
    to_stem,
    to_values,
)
from modhub.spec.digests import FileRecord
from modhub.spec.manifest import ClassLabel, Dependency, Manifest, Metric, Parent, Runtime
from modhub.spec.names import slug
from modhub.spec.ports import OutputPort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from modhub.network.modules import ClassModule, Decomposition, Flags
    from modhub.network.network import Network
    from modhub.package.int8 import Quantised

    Quantiser = Callable[[ClassModule], Quantised]

BASE = "base"
VALUES = "values"
RUNTIME = Runtime(opset={"": OPSET}, ir_version=IR_VERSION, onnxruntime=">=1.27")


@dataclass(frozen=True, kw_only=True)
class Release:
    """What is said about all packages of one packing.

    `created` is an RFC 3339 time in UTC; it is a parameter because equal input must give equal bytes. `forms` are the
    forms that modules carry: ``delta`` (masks over the base), ``standalone`` (own sliced graph and weights), or both.
    ``values`` stands for deltas over a base that is pruned to what most modules keep: for masks over weights, it ships
    no weight that nobody uses. ``int8`` is one more form beside those, rounded to eight bits.
    """

    version: str = "1.0.0"
    created: str = "2026-01-01T00:00:00Z"
    license: str = "LicenseRef-Unknown"
    authors: tuple[str, ...] = ()
    homepage: str | None = None
    parent_name: str = "parent"
    labels: tuple[str, ...] = ()
    forms: tuple[str, ...] = ("delta",)


def pack(decomposition: Decomposition, release: Release, *, quantise: Quantiser | None = None) -> tuple[Package, ...]:
    """Return the base package and one package per class module; the base comes first.

    Packing equal decompositions gives equal bytes.

    Args:
        decomposition: what to pack.
        release: what is said about all packages.
        quantise: makes the form ``int8`` of a module, where the release has it.

    Raises:
        InvalidName: two classes have names that make the same package name.
        DecomposeError: a module does not fit its parent, or nobody says how to quantise.
    """
    return tuple(iterate_packages(decomposition, release, quantise=quantise))


def iterate_packages(
    decomposition: Decomposition, release: Release, *, quantise: Quantiser | None = None
) -> Iterator[Package]:
    """Yield the same packages as `pack`, one at a time, so that a thousand need no memory for a thousand."""
    if (INT8 in release.forms) != (quantise is not None):
        raise DecomposeError("the form 'int8' and samples to quantise on go together")
    if set(release.forms) == {INT8}:
        raise DecomposeError("the form 'int8' comes beside another one, such as 'delta'")
    names = package_names([module.label for module in decomposition.modules])
    stem = stem_of(decomposition, release)
    base = pack_base(decomposition, release, stem=stem)
    yield base
    base = base.without_files()
    parent_macs = macs(decomposition.parent)
    for name, module in zip(names, decomposition.modules, strict=True):
        yield pack_module(
            decomposition,
            module,
            release,
            name=name,
            base=base,
            parent_macs=parent_macs,
            stem=stem,
            quantised=quantise(module) if quantise else None,
        )


def stem_of(decomposition: Decomposition, release: Release) -> Stem:
    """Return what the modules' weight masks have in common, where it saves bytes or the form asks for it.

    Raises:
        DecomposeError: the form is ``values``, and no module masks weights, or ``delta`` is asked for too.
    """
    flags = common_weights(decomposition.parent, decomposition.modules)
    is_pruned = VALUES in release.forms
    if is_pruned and (not flags or "delta" in release.forms):
        reason = "it replaces 'delta'" if flags else "no module of this decomposition masks single weights"
        raise DecomposeError(f"the form 'values' is not possible here: {reason}")
    if not is_pruned and not pays(flags, decomposition.modules):
        return NO_STEM
    return from_stem(to_stem(flags), is_pruned=is_pruned)


def package_names(labels: Sequence[str]) -> list[str]:
    """Return a package name per class label.

    Raises:
        InvalidName: two labels make the same name, or one makes the name of the base.
    """
    from modhub.errors import InvalidName

    names: dict[str, str] = {BASE: "the base package"}
    for label in labels:
        name = slug(label)
        if name in names:
            raise InvalidName(f"classes {label!r} and {names[name]!r} would both be packaged as {name!r}")
        names[name] = label
    return [slug(label) for label in labels]


def pack_base(decomposition: Decomposition, release: Release, *, stem: Stem = NO_STEM) -> Package:
    """Return the parent's graph, weights and sites as a package; of the weights only the stem where it is pruned."""
    parent = decomposition.parent
    network = pruned(parent, stem.flags) if stem.is_pruned else parent
    graph, weights = to_onnx(network)
    identity = fingerprint(network)
    count = int(network.output_shape[-1])
    labels = release.labels or tuple(f"class-{row}" for row in range(count))
    accuracy = decomposition.parent_metrics.get("accuracy")
    files = {GRAPH_FILE: graph, SITES_FILE: sites_to_json(decomposition.sites)}
    if stem.flags:
        files[STEM_FILE] = to_stem(stem.flags)
    if stem.is_pruned:
        files[VALUES_FILE] = to_values(network, stem.flags)
    else:
        files[WEIGHTS_FILE] = weights
    # A pruned base is not as accurate as the parent it was made of, which its own field speaks of.
    measured = {} if stem.is_pruned else decomposition.parent_metrics
    manifest = _manifest(
        network,
        release,
        kind="base",
        name=BASE,
        summary=f"{release.parent_name}: a classifier of {count} classes, the base of class modules",
        classes=tuple(ClassLabel(name=label, parent_index=row) for row, label in enumerate(labels)),
        output=OutputPort(name=network.output, shape=(BATCH, count), semantic="logits"),
        parent=Parent(
            name=release.parent_name, sha256=identity, classes=count, accuracy=accuracy.value if accuracy else None
        ),
        metrics={
            **measured,
            "parameters": Metric(value=float(network.parameters - _dropped(stem.flags if stem.is_pruned else {}))),
            "macs": Metric(value=float(macs(network))),
        },
        forms={VALUES if stem.is_pruned else "standalone": files},
    )
    return seal(manifest, files)


def pack_module(
    decomposition: Decomposition,
    module: ClassModule,
    release: Release,
    *,
    name: str,
    base: Package,
    parent_macs: int,
    stem: Stem = NO_STEM,
    quantised: Quantised | None = None,
) -> Package:
    """Return one class module as a package in the forms that the release asks for."""
    network, sites = decomposition.parent, decomposition.sites
    part = sliced(network, sites, module)
    forms: dict[str, dict[str, bytes]] = {}
    if "delta" in release.forms or VALUES in release.forms:
        identity = base.manifest.parent.sha256 if base.manifest.parent else fingerprint(network)
        forms["delta"] = {DELTA_FILE: to_delta(network, sites, module, base=identity, stem=stem)}
    if "standalone" in release.forms:
        forms["standalone"] = dict(zip((GRAPH_FILE, WEIGHTS_FILE), to_onnx(part), strict=True))
    if quantised is not None:
        forms[INT8] = to_int8(quantised)
    manifest = _manifest(
        network,
        release,
        kind="module",
        name=name,
        summary=f"Scores the class {module.label!r}; split from {release.parent_name} by {decomposition.method.name}",
        classes=(ClassLabel(name=module.label, parent_index=module.row),),
        output=OutputPort(name=SCORE, shape=(BATCH, 1), semantic="logit", calibration=module.calibration),
        provides=(f"class:{name}",),
        dependencies=(_base_dependency(base, release),) if "delta" in forms else (),
        parent=base.manifest.parent,
        method=decomposition.method,
        data=decomposition.data,
        metrics={
            **module.metrics,
            **_calibration_error(module),
            **_sizes(decomposition, module, part, parent_macs),
            **(quantised.metrics if quantised else {}),
        },
        forms=forms,
    )
    return seal(manifest, {name: data for files in forms.values() for name, data in files.items()})


def _calibration_error(module: ClassModule) -> dict[str, Metric]:
    error = module.calibration.ece if module.calibration else None
    return {} if error is None else {"calibration_error": Metric(value=error, split="validation")}


def _base_dependency(base: Package, release: Release) -> Dependency:
    return Dependency(package=f"./{BASE}", version=f"=={release.version}", sha256=base.digest)


def _sizes(decomposition: Decomposition, module: ClassModule, part: Network, parent_macs: int) -> dict[str, Metric]:
    tail = decomposition.sites.after(decomposition.parent, decomposition.cut)
    total = max(1, kernels(tail))
    return {
        "kernels_kept": Metric(value=round(kernels_kept(tail, module.kept) / total, 6), n=total),
        "weights_kept": Metric(value=round(_weights_kept(decomposition.parent, module, part), 6)),
        "macs": Metric(value=round(macs(part) / parent_macs, 6)),
    }


def _weights_kept(parent: Network, module: ClassModule, part: Network) -> float:
    """Return the share of the parent's weights that a module keeps; masked ones do not count."""
    masked = [part.arrays[name] for name in module.weights if name in part.arrays]
    return (part.parameters - sum(array.size - np.count_nonzero(array) for array in masked)) / parent.parameters


def _dropped(masks: Mapping[str, Flags]) -> int:
    return sum(int((~flags).sum()) for flags in masks.values())


def _manifest(
    network: Network, release: Release, *, forms: Mapping[str, Mapping[str, bytes]], **fields: object
) -> Manifest:
    return Manifest(
        version=release.version,
        created=release.created,
        license=release.license,
        authors=release.authors,
        homepage=release.homepage,
        input=network.input,
        runtime=RUNTIME,
        forms={
            form: tuple(record(name, data) for name, data in sorted(files.items())) for form, files in forms.items()
        },
        **fields,  # type: ignore[arg-type]
    )


def record(path: str, data: bytes) -> FileRecord:
    """Return a file's name, size and digest."""
    return FileRecord.of(path, data=data)


def seal(manifest: Manifest, files: Mapping[str, bytes]) -> Package:
    """Return the package of a manifest and its files, with the model card and `module.json` added."""
    card = render_card(manifest).encode()
    manifest = dataclasses.replace(manifest, card=record(CARD_FILE, card))
    return Package(manifest=manifest, files={**files, CARD_FILE: card, MANIFEST_FILE: manifest.to_json()})
