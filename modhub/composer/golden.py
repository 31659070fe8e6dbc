"""Is a composite what its modules are? Its golden pair, compared with the modules run alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.engines.golden import INPUT, SCORES, TOLERANCE, largest_difference, record_golden
from modhub.engines.runtime import Session
from modhub.errors import ComposeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.network.network import Array, Network


def check_golden(networks: Sequence[Network], joined: Network, *, labels: Sequence[str]) -> dict[str, Array]:
    """Return the golden input and scores of a composite, after comparing them with its modules run alone.

    Raises:
        ComposeError: a score differs from that of the module alone, or is not finite.
    """
    golden = record_golden(joined)
    column = 0
    for label, network in zip(labels, networks, strict=True):
        alone = Session(network).run(golden[INPUT])
        difference = largest_difference(golden[SCORES][:, column : column + alone.shape[1]], alone)
        if not difference <= TOLERANCE:
            raise ComposeError(f"{label} scores {difference:.2g} differently inside the composite than alone")
        column += alone.shape[1]
    return golden
