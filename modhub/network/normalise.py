"""Normalisation as part of a network, for parents that were trained on images somebody else normalised.

A package eats images in [0, 1], whatever its parent was fed with; only so can modules of different parents take the
same image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modhub.errors import UsageError
from modhub.network.network import Node
from modhub.network.passes.clean import redirect
from modhub.network.passes.names import fresh_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.network.network import Network


def normalised(network: Network, *, mean: Sequence[float], std: Sequence[float]) -> Network:
    """Return the network of images in [0, 1] that computes ``network((image - mean) / std)``.

    Args:
        network: what takes normalised images.
        mean: a number per channel, or one for all.
        std: likewise, none of them zero.

    Raises:
        UsageError: the input is no image, or the numbers do not fit it.

    >>> normalised(load("vit.onnx"), mean=(0.5,), std=(0.25,)).nodes[0].op  # doctest: +SKIP
    'Sub'
    """
    port = network.input
    if port.kind != "image":
        raise UsageError(f"only images are normalised, the network takes {port.kind}")
    channels = int(port.shape[1])
    for what, numbers in (("mean", mean), ("std", std)):
        if len(numbers) not in (1, channels):
            raise UsageError(f"the {what} of images with {channels} channels is {channels} numbers, not {len(numbers)}")
    if not all(number > 0 for number in std):
        raise UsageError(f"standard deviations are positive, got {', '.join(f'{number:g}' for number in std)}")
    taken = {port.name, *network.arrays, *network.producers()}
    arrays, value, front = dict(network.arrays), port.name, []
    for op, what, numbers in (("Sub", "mean", mean), ("Div", "std", std)):
        array, output = fresh_name(f"{port.name}.{what}", taken), fresh_name(f"{port.name}.{op.lower()}", taken)
        arrays[array] = np.broadcast_to(np.array(numbers, dtype=np.float32), channels).reshape(-1, 1, 1).copy()
        front.append(Node(op=op, inputs=(value, array), outputs=(output,), name=output))
        value = output
    return network.replace(nodes=(*front, *redirect(network.nodes, {port.name: value})), arrays=arrays)
