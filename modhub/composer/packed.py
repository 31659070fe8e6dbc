"""Weight masks inside a graph, a bit for each weight.

A composite of many modules of one base so holds the base's weights once, and per module an eighth of a byte for each.
ONNX Runtime computes the masked weights when it opens the model (constant folding), so running costs the same and gives
the same bits as weights that were masked before.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from modhub.network.network import Node
from modhub.network.passes.names import fresh_name

if TYPE_CHECKING:
    from modhub.composer.sources import Source
    from modhub.network.modules import Flags
    from modhub.network.network import Array, Network

WORD = 64
"""Flags in one element of the packed arrays, which are int64: they stay inside the graph."""

BOOL = 9
"""ONNX's number for the type of flags."""


def packed(source: Source) -> Network:
    """Return a module as a network that masks the weights of its base by itself.

    Arrays that the module also cuts or scales are its own already, and stay materialised.
    """
    whole = source.materialised()
    base, masks = source.network.arrays, source.module.weights
    names = [
        name
        for name, flags in masks.items()
        if name in whole.arrays and np.array_equal(whole.arrays[name], _masked(base[name], flags)) and not flags.all()
    ]
    writer = _Writer(whole)
    for name in names:
        writer.mask(name, base[name], masks[name])
    return writer.result()


def _masked(array: Array, flags: Flags) -> Array:
    return np.where(flags, array.astype(np.float32), np.float32(0))


def words(flags: Flags) -> Array:
    """Return flags as int64, 64 in each, the first in the lowest bit; cleared ones fill the last.

    >>> words(np.array([True, False, True])).tolist()
    [5]
    """
    bits = np.packbits(flags.reshape(-1), bitorder="little")
    return np.pad(bits, (0, -len(bits) % 8)).view("<i8").astype(np.int64)


class _Writer:
    """A network whose constants are computed from packed flags."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.arrays = dict(network.arrays)
        self.nodes: list[Node] = []
        self.renamed: dict[str, str] = {}
        self.taken = {network.input.name, *network.arrays, *network.producers()}

    def mask(self, name: str, array: Array, flags: Flags) -> None:
        """Let every reader of an array read it masked; the array itself is the base's own."""
        self.arrays[name] = array
        bits = self._store(f"{name}.bits", words(flags).reshape(-1, 1))
        powers = self._store("bits/powers", np.left_shift(np.int64(1), np.arange(WORD, dtype=np.int64)).reshape(1, -1))
        value = self._node("BitwiseAnd", bits, powers, wish=f"{name}.anded")
        value = self._node("Cast", value, wish=f"{name}.flags", to=BOOL)
        value = self._node("Reshape", value, self._store("bits/flat", np.array([-1])), wish=f"{name}.flat")
        ends = [self._store(f"bits/{end}", np.array([end])) for end in (0, flags.size)]
        value = self._node("Slice", value, *ends, wish=f"{name}.cut")
        value = self._node("Reshape", value, self._store(f"{name}.shape", np.array(flags.shape)), wish=f"{name}.mask")
        zero = self._store("bits/zero", np.array(0, dtype=np.float32))
        self.renamed[name] = self._node("Where", value, name, zero, wish=f"{name}.masked")

    def _store(self, wish: str, array: Array) -> str:
        """Return the name of a constant; equal ones of one name are stored once."""
        if wish not in self.arrays:
            self.taken.add(wish)
            self.arrays[wish] = array
        return wish

    def _node(self, op: str, *inputs: str, wish: str, **attributes: int) -> str:
        output = fresh_name(wish, self.taken)
        self.nodes.append(Node(op=op, inputs=inputs, outputs=(output,), attributes=attributes, name=output))
        return output

    def result(self) -> Network:
        """Return the network."""
        readers = [
            dataclasses.replace(node, inputs=tuple(self.renamed.get(name, name) for name in node.inputs))
            for node in self.network.nodes
        ]
        return self.network.replace(nodes=(*self.nodes, *readers), arrays=self.arrays)
