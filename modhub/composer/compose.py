"""Modules in, one runnable composite out.

The composite's graph is the join of its modules' graphs; nothing is retrained and no score changes, but in a union,
where every module gets what any of them keeps. Before it is returned, a golden input is run through every module alone
and through the composite in ONNX Runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.composer.adapters import adapted
from modhub.composer.composite import REJECT_ENTRY, Composite, Naming, pack_composite, provenance
from modhub.composer.fit import TOGETHER, UNION, check_fit, choose_strategy, together_metric
from modhub.composer.golden import check_golden
from modhub.composer.join import join
from modhub.composer.licences import REFUSE, joined_licence
from modhub.composer.packed import packed
from modhub.composer.part import Part
from modhub.composer.refit import refit
from modhub.composer.reject import rejection
from modhub.composer.sources import sources_of, union_density, united
from modhub.engines.golden import record_golden
from modhub.errors import ComposeError
from modhub.network.cost import macs
from modhub.package.materialise import network_of
from modhub.spec import limits
from modhub.spec.manifest import Metric

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from modhub.composer.sources import Source
    from modhub.datasets import Dataset
    from modhub.network.network import Network

__all__ = ["Composite", "Part", "compose"]

MATERIALISED, PACKED = "materialised", "packed"
MASKS = (MATERIALISED, PACKED)
"""How masks of single weights lie in a composite."""


def compose(  # noqa: PLR0913  Each is a choice of the caller.
    parts: Sequence[Part],
    *,
    name: str = "composite",
    version: str = "1.0.0",
    strategy: str = "auto",
    masks: str = MATERIALISED,
    calibrate: Dataset | None = None,
    adapters: Collection[str] = (),
    reject: str | float | None = None,
    licence_conflicts: str = REFUSE,
    lock: str = "",
) -> Composite:
    """Return the parts as one model with output `scores`, float32 ``[batch, k]``, columns in the order given.

    Args:
        parts: verified modules or composites.
        name: the composite's package name.
        version: its version.
        strategy: ``trunk`` (modules of one parent; what they share runs once), ``parallel`` (any parents), ``union``
            (modules of one parent as one network with what any of them keeps; scores differ from the modules'), or
            ``auto``, which goes by what the modules' manifests say was measured.
        masks: of single weights: ``materialised``, or ``packed``, bits beside the weights of the base, which are then
            stored once and masked when the model is opened.
        calibrate: labelled data to fit the scores to one another, and to it.
        adapters: ``layout``, ``range``, ``channels``, ``resize``: what may be done to the input, which is that of the
            first part, on its way to parts that take another.
        reject: the probability below which the answer is "none of these", or ``auto``; see `modhub.composer.reject`.
        licence_conflicts: whether to ``refuse`` parts whose licences forbid to make one model of them, or only to
            ``warn``: then the NOTICE says what they ask for.
        lock: the lock file's text, which travels as a file and in the graph.

    Raises:
        ComposeError: the modules do not fit: inputs differ, a class occurs twice, a score is uncalibrated beside
            another parent's, a licence forbids it, they have no union or no masks to pack, the whole is too large for a
            package, or it fails its own check.
        FormatError: a package's files do not fit together.
        InvalidData: the data to calibrate on does not fit, or is too small.
        UsageError: `reject` is no probability.
    """
    check_fit(parts, calibrating=calibrate is not None, adapting=bool(adapters))
    chosen, why = choose_strategy(parts, strategy)
    # Asked before the work, although the package is made after it.
    joined_licence({part.label: part.package.manifest.terms for part in parts}, refuse=licence_conflicts == REFUSE)
    networks, metrics = _networks(parts, chosen, masks)
    networks, shown = _adapted(parts, networks, adapters)
    network = join([(f"m{i}", own) for i, own in enumerate(networks)])
    _check_size(network)
    shared = sum(len(own.nodes) for own in networks) + 1 - len(network.nodes)
    network = network.replace(metadata=provenance(parts, lock))
    golden = check_golden(networks, network, labels=[part.label for part in parts])
    fitted = None if calibrate is None else refit(network, calibrate, columns=_classes(parts))
    if calibrate is not None and fitted is not None:
        network, metrics = fitted.network, {**metrics, **fitted.metrics}
        golden = record_golden(network)
    refused = None
    if reject is not None:
        refused = rejection(network, parts, reject, data=calibrate, columns=_classes(parts))
        network = network.replace(metadata={**network.metadata, REJECT_ENTRY: f"{refused.threshold:g}"})
        metrics = {**metrics, **refused.metrics}
    naming = Naming(name=name, version=version)
    return Composite(
        package=pack_composite(
            network,
            parts,
            naming,
            golden=golden,
            parameters={
                "strategy": chosen,
                **({"masks": masks} if masks != MATERIALISED else {}),
                **({"calibrated_on": calibrate.name} if calibrate is not None else {}),
                **({"adapters": "; ".join(shown)} if shown else {}),
                **({"reject": refused.threshold} if refused is not None else {}),
            },
            metrics=metrics,
            lock=lock,
        ),
        network=network,
        strategy=chosen,
        why=why,
        shared_nodes=shared,
        cost=macs(network) / max(1, sum(map(macs, networks))),
        refit=fitted,
        adapters=tuple(shown),
        rejection=refused,
    )


def _adapted(
    parts: Sequence[Part], networks: Sequence[Network], adapters: Collection[str]
) -> tuple[list[Network], list[str]]:
    """Return the networks behind adapters to the input of the first, and for each adapted part what it is shown.

    Raises:
        ComposeError: a part needs an adapter that was not declared, or there is none; names the part.
    """
    found, words = [], []
    for part, network in zip(parts, networks, strict=True):
        try:
            whole, steps = adapted(network, networks[0].input, adapters)
        except ComposeError as error:
            raise ComposeError(f"{part.label}: {error}") from error
        found.append(whole)
        words += [f"{part.reference} is shown {', '.join(steps)}"] if steps else []
    return found, words


def _classes(parts: Sequence[Part]) -> list[str]:
    return [label.name for part in parts for label in part.package.manifest.classes]


def _networks(parts: Sequence[Part], strategy: str, masks: str) -> tuple[list[Network], dict[str, Metric]]:
    """Return each part as the network that is joined, and what is known of them together."""
    if masks not in MASKS:
        raise ComposeError(f"masks are {' or '.join(MASKS)}, not {masks!r}")
    known = together_metric(parts, UNION if strategy == "union" else TOGETHER)
    metrics = {} if known is None else {UNION if strategy == "union" else TOGETHER: known}
    if strategy == "union":
        sources = sources_of(parts)
        metrics["union_density"] = Metric(value=union_density(sources))
        sources = united(sources)
    elif masks == PACKED:
        sources = _packable(parts)
    else:
        return [network_of(part.package, part.base) for part in parts], metrics
    return [packed(source) if masks == PACKED else source.materialised() for source in sources], metrics


def _packable(parts: Sequence[Part]) -> list[Source]:
    """Return what parts are made of, those of one base over the same weights."""
    found: dict[int, Source] = {}
    groups: dict[str, list[int]] = {}
    for i, part in enumerate(parts):
        groups.setdefault(part.base.digest if part.base else "", []).append(i)
    for members in groups.values():
        found.update(zip(members, sources_of([parts[i] for i in members]), strict=True))
    if not any(source.module.weights for source in found.values()):
        raise ComposeError("there are no masks to pack: none of the modules masks single weights")
    return [found[i] for i in range(len(parts))]


def _check_size(network: Network) -> None:
    if len(network.nodes) > limits.GRAPH_NODES or len(network.arrays) > limits.GRAPH_TENSORS:
        counts = f"{len(network.nodes)} nodes and {len(network.arrays)} arrays"
        raise ComposeError(
            f"together they have {counts}, a package holds at most {limits.GRAPH_NODES} and {limits.GRAPH_TENSORS}"
        )
