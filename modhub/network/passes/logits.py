"""The classifier's scores before normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.network.passes.clean import drop_unused

if TYPE_CHECKING:
    from modhub.network.network import Network

NORMALISATIONS = frozenset({"Softmax", "LogSoftmax"})


def expose_logits(network: Network) -> Network:
    """Return the network ending in its logits: a softmax that ends it is removed.

    Softmax over the classes keeps their order, so the predictions are the same.
    """
    last = next((node for node in network.nodes if network.output in node.outputs), None)
    if last is None or last.op not in NORMALISATIONS or last.integer("axis", -1) not in (-1, 1):
        return network
    return drop_unused(network.replace(output=last.inputs[0]))
