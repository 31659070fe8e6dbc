"""What a network looks like, without its weights: as much as shapes and sizes depend on, in hardly any memory.

An array of an outline is one number, seen at every place (numpy's `broadcast_to`). `modhub.network.slice` cuts such
arrays without making any.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from modhub.network.onnx_file import is_inline

if TYPE_CHECKING:
    from modhub.network.modules import ClassModule
    from modhub.network.network import Network


def outline(network: Network) -> Network:
    """Return a network with zeros in place of its weights; what shapes may depend on is as it was."""
    arrays = {
        name: array if is_inline(array) else np.broadcast_to(np.zeros((), dtype=array.dtype), array.shape)
        for name, array in network.arrays.items()
    }
    return network.replace(arrays=arrays)


def outlined(module: ClassModule) -> ClassModule:
    """Return a module without masks of weights and affine maps, which change values and no shape."""
    return dataclasses.replace(module, weights={}, affine={})
