"""`Subject`: what there is to draw of a target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modhub import fsops
from modhub.engines.model import open_model
from modhub.errors import FormatError, NotFound
from modhub.network.sites import find_sites
from modhub.package.delta import DELTA_FILE
from modhub.package.folder import INDEX_FILE, read_collection, read_package
from modhub.package.materialise import network_of, open_base, read_module
from modhub.package.package import MANIFEST_FILE
from modhub.package.worker import Worker
from modhub.report.curve import Curve, curve_of
from modhub.report.kept import Kept, kept_of
from modhub.report.overlap import Overlap, overlap_of, shared_weights
from modhub.report.split import Split, sites_behind
from modhub.spec.document import parse_json
from modhub.spec.versions import parse_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modhub.network.network import Network
    from modhub.network.sites import Sites
    from modhub.package.package import Package

REPORT_FILE = "report.json"
REPORT_BYTES = 64 << 20
"""A report of a thousand modules over a hundred sites takes a few MB."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What there is to draw of a target; what it has not is None.

    Args:
        name: what it is called.
        sites: its sites, with what each module keeps where there are modules.
        overlap: how much modules keep in common.
        curve: what the decomposer saw.
    """

    name: str
    sites: Kept
    overlap: Overlap | None = None
    curve: Curve | None = None

    @property
    def kept(self) -> Kept | None:
        """What modules keep, where there are modules."""
        return self.sites if self.sites.modules else None


def read_subject(target: str) -> Subject:
    """Return what there is to draw of a collection, module, base or composite folder, or of a model.

    Args:
        target: a folder, an ``.onnx`` file, ``sample:NAME``, or ``package.module:factory``.

    Raises:
        NotFound: there is no such file, folder, factory or sample.
        InvalidPackage: a package breaks the format.
        FormatError: the collection's report is no JSON.
        InvalidNetwork: the model is no classifier modhub can represent.
    """
    folder = Path(target)
    if (folder / INDEX_FILE).is_file():
        with Worker() as worker:
            packages = read_collection(folder, verify=worker.verify)
        return subject_of_collection(packages, name=folder.resolve().name, report=read_report(folder))
    if not (folder / MANIFEST_FILE).is_file():
        return subject_of_network(open_model(target).network, name=folder.stem if folder.is_file() else target)
    with Worker() as worker:
        package, base = read_package(folder, verify=worker.verify)
    if package.manifest.kind == "composite":
        return subject_of_composite(package)
    if package.manifest.kind == "module" and base is not None and DELTA_FILE in package.files:
        return subject_of_collection((base, package), name=package.name, report={})
    return subject_of_network(network_of(package, base), name=package.name)


def subject_of_collection(packages: Sequence[Package], *, name: str, report: Mapping[str, Any]) -> Subject:
    """Return what there is to draw of the newest base of a collection and its newest modules.

    Args:
        packages: of a collection.
        name: what to call it.
        report: the decomposer's report, empty where there is none.

    Raises:
        NotFound: there is no base.
        FormatError: files do not fit together.
    """
    bases = [package for package in packages if package.manifest.kind == "base"]
    if not bases:
        raise NotFound(f"{name} holds no base package, and masks mean nothing without one")
    base = max(bases, key=lambda package: parse_version(package.version))
    opened = open_base(base)
    modules = newest_modules(packages, base)
    totals = [
        metrics["kernels_kept"].n for metrics in (p.manifest.metrics for p in modules) if "kernels_kept" in metrics
    ]
    masks = tuple(read_module(package, base) for package in modules)
    split = Split(
        parent=opened.network,
        sites=opened.sites,
        behind=sites_behind(opened.network, opened.sites, total=totals[0] if totals else None, modules=masks),
        modules=masks,
    )
    kept = kept_of(split)
    accuracy = base.manifest.metrics.get("accuracy")
    return Subject(
        name=name,
        sites=kept,
        overlap=overlap_of(split) if len(masks) > 1 else None,
        curve=curve_of(
            history_of(report),
            parent=accuracy.value if accuracy else None,
            max_loss=_max_loss(modules),
            kept=kept.mean_share,
            measure=kept.measure,
        ),
    )


def newest_modules(packages: Sequence[Package], base: Package) -> list[Package]:
    """Return the modules over a base that hold masks, the newest version of each, in the parent's class order."""
    newest: dict[str, Package] = {}
    for package in packages:
        over = any(need.sha256 == base.digest for need in package.manifest.dependencies)
        if package.manifest.kind == "module" and over and DELTA_FILE in package.files:
            known = newest.get(package.name)
            if known is None or parse_version(known.version) < parse_version(package.version):
                newest[package.name] = package
    return list(newest.values())


def subject_of_composite(package: Package) -> Subject:
    """Return what there is to draw of a composite: its own sites, and how much its columns share."""
    network = network_of(package)
    columns = tuple(label.name for label in package.manifest.classes)
    several = len(network.nodes[-1].inputs) == len(columns) > 1
    return Subject(
        name=package.name,
        sites=_sites_of(network, find_sites(network)),
        overlap=shared_weights(network, columns) if several else None,
    )


def subject_of_network(network: Network, *, name: str) -> Subject:
    """Return what there is to draw of a network alone: its sites."""
    return Subject(name=name, sites=_sites_of(network, find_sites(network)))


def _sites_of(network: Network, sites: Sites) -> Kept:
    return kept_of(Split(parent=network, sites=sites, behind=sites.after(network, ""), modules=()))


def read_report(folder: Path) -> Mapping[str, Any]:
    """Return the report that `decompose` wrote into a collection folder, empty where there is none.

    Raises:
        FormatError: it is no JSON object.
    """
    path = folder.resolve() / REPORT_FILE
    try:
        report = parse_json(fsops.read_file(path, limit=REPORT_BYTES), limit=REPORT_BYTES)
    except NotFound:
        return {}
    except FormatError as error:
        raise error.in_file(str(path)) from error
    if not isinstance(report, dict):
        raise FormatError("expected an object", file=str(path))
    return report


def history_of(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the steps that a report lists; whatever is none is left out."""
    steps = report.get("history")
    return [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []


def _max_loss(modules: Sequence[Package]) -> float | None:
    method = modules[0].manifest.method if modules else None
    value = method.parameters.get("max_loss") if method is not None else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
