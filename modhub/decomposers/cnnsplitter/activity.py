"""How much kernels fire: what the layers behind them read, summed over space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from modhub.errors import DecomposeError

if TYPE_CHECKING:
    import numpy.typing as npt

    from modhub.decomposers.start import Start

BATCH = 64


@torch.no_grad()
def activity(begun: Start, x: torch.Tensor) -> npt.NDArray[np.float64]:
    """Return for each sample and column of a mask how much the kernel fires, ``[n, width]``.

    That is the sum over space of the size of its output where other layers read it, behind normalisation, activation
    and pooling. Where an activation leaves nothing below zero, as ReLU does, it is the plain sum. Of a kernel with
    several readers, in a residual stream, the last one counts: it reads the sum that the stream ends with.

    Raises:
        DecomposeError: a layer reads something that does not hold a sample per row, as recurrent layers do.
    """
    batch, sites = begun.batch, begun.sites
    column = np.full(sites.channel_count, -1, dtype=np.int64)
    start = 0
    for site in batch.maskable:
        first = sites.offsets[site.id]
        column[first : first + site.size] = np.arange(start, start + site.size)
        start += site.size
    reads = {node.outputs[0]: node.inputs for node in begun.network.nodes}
    readers = [
        (reads[reader.node][reader.operand], reader.axis, columns)
        for reader in sites.readers
        for columns in [column[reader.channels]]
        if (columns >= 0).any()
    ]
    wanted = tuple(dict.fromkeys(name for name, _, _ in readers))
    parts = []
    for some in torch.split(x, BATCH):
        values = batch.net.evaluate({batch.cut: some.to(batch.latents.device)}, wanted=wanted)
        total = np.zeros((len(some), batch.width + 1))
        seen = np.zeros(batch.width + 1, dtype=np.bool_)
        for name, axis, columns in reversed(readers):
            if values[name].shape[0] != len(some) or name in begun.network.arrays:
                raise DecomposeError(f"the kernels that make {name!r} cannot be ordered by how much they fire")
            value = values[name].abs().cpu()
            other = tuple(a for a in range(value.ndim) if a not in (0, axis))
            summed = (value.sum(dim=other) if other else value).double().numpy()
            fresh = (columns >= 0) & ~seen[columns]
            np.add.at(total.T, columns[fresh], summed.T[fresh])
            seen[columns[columns >= 0]] = True
        parts.append(total[:, :-1])
    return np.concatenate(parts)
