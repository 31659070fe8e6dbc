"""Modules in, one runnable composite out.

The composite's graph is the join of its modules' graphs; nothing is retrained and no score changes. Before it is
returned, a golden input is run through every module alone and through the composite in ONNX Runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.composer.composite import Composite, Naming, pack_composite, provenance
from modhub.composer.fit import check_fit, choose_strategy
from modhub.composer.golden import check_golden
from modhub.composer.join import join
from modhub.composer.licences import joined_licence
from modhub.composer.part import Part
from modhub.errors import ComposeError
from modhub.network.cost import macs
from modhub.package.materialise import network_of
from modhub.spec import limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.network.network import Network

__all__ = ["Composite", "Part", "compose"]


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
        parts: verified modules or composites.
        name: the composite's package name.
        version: its version.
        created: RFC 3339 time in UTC, for its manifest; a parameter, because equal input gives equal bytes.
        strategy: ``trunk`` (modules of one parent; what they share runs once), ``parallel`` (any parents), or
            ``auto``.
        lock: the lock file's text, which travels as a file and in the graph.

    Raises:
        ComposeError: the modules do not fit: inputs differ, a class occurs twice, a score is uncalibrated beside
            another parent's, a licence forbids it, the whole is too large for a package, or it fails its own check.
        FormatError: a package's files do not fit together.
    """
    check_fit(parts)
    chosen, why = choose_strategy(parts, strategy)
    # Asked before the work, although the package is made after it.
    joined_licence(part.package.manifest.license for part in parts)
    networks = [network_of(part.package, part.base) for part in parts]
    network = join([(f"m{i}", own) for i, own in enumerate(networks)])
    _check_size(network)
    network = network.replace(metadata=provenance(parts, lock))
    golden = check_golden(networks, network, labels=[part.label for part in parts])
    naming = Naming(name=name, version=version, created=created)
    return Composite(
        package=pack_composite(network, parts, naming, golden=golden, strategy=chosen, lock=lock),
        network=network,
        strategy=chosen,
        why=why,
        shared_nodes=sum(len(own.nodes) for own in networks) + 1 - len(network.nodes),
        cost=macs(network) / max(1, sum(map(macs, networks))),
    )


def _check_size(network: Network) -> None:
    if len(network.nodes) > limits.GRAPH_NODES or len(network.arrays) > limits.GRAPH_TENSORS:
        counts = f"{len(network.nodes)} nodes and {len(network.arrays)} arrays"
        raise ComposeError(
            f"together they have {counts}, a package holds at most {limits.GRAPH_NODES} and {limits.GRAPH_TENSORS}"
        )
