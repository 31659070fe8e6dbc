"""Sites: the dimensions of a network whose channels can be kept or cut together.

A site is a run of channels that one layer makes and others read, tied through element-wise operators, concatenations,
reshapes and depthwise convolutions. Dropping a channel means zeros at every consumer's input; because nothing between
producer and consumer mixes channels, zeros there equal removal. A residual addition does not tie: each branch keeps its
own subset and is scattered onto the stream.

`Sites` is plain data: which positions of which arrays belong to which channel. It travels with a base package, so that
cutting a module needs no analysis and never depends on the version that analysed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from modhub.errors import DecomposeError
from modhub.network.passes.selection import is_selection
from modhub.network.rules.table import followed
from modhub.network.shapes import infer_shapes
from modhub.network.trunk import trunk_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from modhub.network.network import Network
    from modhub.network.rules.walk import Walk
    from modhub.network.units import Units, UnitTable

    Flags = npt.NDArray[np.bool_]
    Channels = npt.NDArray[np.int64]

OUTPUT = "it is the output"
LAYERS = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN"), 1),
    "Gather": 0,
}
"""Operators that make channels, with the position of the weights whose rows they are; `Gather` reads an embedding."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """Channels that are kept or cut together.

    `id` is the name of the first array whose rows make them; `layers` are the weight arrays of all layers that do;
    `spatial` tells convolution kernels from neurons. `pinned` says why they are never cut, empty where they can be.
    """

    id: str
    size: int
    layers: tuple[str, ...]
    spatial: bool
    pinned: str = ""


@dataclass(frozen=True, kw_only=True)
class ArraySlice:
    """Position `i` along `axis` of `array` belongs to channel ``channels[i]``, counted over all sites."""

    node: str
    array: str
    axis: int
    channels: Channels
    role: str


@dataclass(frozen=True, kw_only=True)
class TargetSize:
    """Element `index` of the integer array that is input `operand` of `node` counts the kept `channels`."""

    node: str
    operand: int
    index: int
    channels: Channels


@dataclass(frozen=True, kw_only=True)
class Positions:
    """The integer array that is input `operand` of `node` holds positions along an axis of `channels`."""

    node: str
    operand: int
    channels: Channels


@dataclass(frozen=True, kw_only=True)
class AttributeSize:
    """The integer attribute of `node` counts the kept `channels`."""

    node: str
    attribute: str
    channels: Channels


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Input `operand` of `node` reads `channels` along `axis` and mixes them."""

    node: str
    operand: int
    axis: int
    channels: Channels


@dataclass(frozen=True, kw_only=True)
class Branch:
    """Input `operand` of the addition `node` puts `channels` along `axis` onto a stream, position by position.

    `stream` are the stream's channels, None where the stream cannot be cut there.
    """

    node: str
    operand: int
    axis: int
    rank: int
    channels: Channels
    stream: Channels | None


@dataclass(frozen=True, kw_only=True)
class Sites:
    """Everything about cutting one network. Nodes are named by their first output.

    Channels are counted over all sites in order: channel `c` of site `s` has the number ``offset(s) + c``. Of each of
    `parts`, some value's channels that are no whole site, at least one is always kept. `output` are the numbers of the
    logits' channels, None where a single logit cannot be cut out.
    """

    sites: tuple[Site, ...]
    arrays: tuple[ArraySlice, ...] = field(repr=False)
    targets: tuple[TargetSize, ...] = field(repr=False)
    positions: tuple[Positions, ...] = field(repr=False)
    attributes: tuple[AttributeSize, ...] = field(repr=False)
    readers: tuple[Reader, ...] = field(repr=False)
    branches: tuple[Branch, ...] = field(repr=False)
    parts: tuple[Channels, ...] = field(repr=False)
    output: Channels | None = field(repr=False)

    @cached_property
    def by_id(self) -> dict[str, Site]:
        """Map ids to sites."""
        return {site.id: site for site in self.sites}

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Map each site's id to the number of its first channel."""
        starts = np.cumsum([0, *(site.size for site in self.sites)]).tolist()
        return {site.id: start for site, start in zip(self.sites, starts, strict=False)}

    @property
    def channel_count(self) -> int:
        """Number of channels over all sites."""
        return sum(site.size for site in self.sites)

    def __getitem__(self, site: str) -> Site:
        """Return a site by its id.

        Raises:
            DecomposeError: there is no such site.
        """
        if site not in self.by_id:
            raise DecomposeError(f"the network has no site {site!r}")
        return self.by_id[site]

    def flags(self, kept: Mapping[str, Channels], *, output_row: int | None = None) -> Flags:
        """Return for every channel whether it is kept, given the kept channels of some sites; other sites are whole.

        With `output_row`, only that row of the logits is kept.
        """
        flags = np.ones(self.channel_count, dtype=np.bool_)
        for site_id, channels in kept.items():
            start = self.offsets[site_id]
            flags[start : start + self[site_id].size] = False
            flags[start + np.asarray(channels)] = True
        if output_row is not None and self.output is not None:
            flags[self.output] = False
            flags[self.output[output_row]] = True
        return flags

    def settle(self, kept: Mapping[str, Channels]) -> dict[str, Channels]:
        """Return the masks in the one form in which they are applied.

        Branch channels that land on a dropped channel of their stream, and are read nowhere else, have no effect and
        are dropped too. A site or part that would be empty keeps the first channel that was asked for: where it lands
        on nothing, it still changes nothing.
        """
        asked = self.flags(kept)
        flags = asked.copy()
        needed = (self.readings > 1) | self.fixed
        for branch in self.branches:
            if branch.stream is not None:
                lands = np.zeros(self.channel_count, dtype=np.bool_)
                lands[branch.channels[flags[branch.stream]]] = True
                flags[branch.channels] &= (lands | needed)[branch.channels]
        starts = self.offsets
        whole = [np.arange(starts[site.id], starts[site.id] + site.size) for site in self.sites]
        for channels in (*whole, *self.parts):
            if not flags[channels].any():
                flags[channels[asked[channels].argmax()]] = True
        settled = {}
        for site, channels in zip(self.sites, whole, strict=True):
            found = np.flatnonzero(flags[channels])
            if len(found) < site.size or site.id in kept:
                settled[site.id] = found
        return settled

    @cached_property
    def fixed(self) -> Flags:
        """Whether each channel belongs to a site that cannot be cut."""
        return np.repeat([bool(site.pinned) for site in self.sites], [site.size for site in self.sites])

    @cached_property
    def readings(self) -> Channels:
        """How many inputs of nodes read each channel."""
        counts = np.zeros(self.channel_count, dtype=np.int64)
        for reader in self.readers:
            counts[np.unique(reader.channels)] += 1
        return counts

    def after(self, network: Network, cut: str) -> tuple[Site, ...]:
        """Return the sites that can be cut without touching the trunk that ends at `cut` (empty: no trunk).

        Raises:
            DecomposeError: `cut` is no place where the network can be cut.
        """
        trunk = {name for node in network.nodes[: trunk_size(network, cut)] for name in node.outputs}
        touched = np.zeros(self.channel_count, dtype=np.bool_)
        uses: list[ArraySlice | TargetSize | Positions | AttributeSize]
        uses = [*self.arrays, *self.targets, *self.positions, *self.attributes]
        for use in uses:
            if use.node in trunk:
                touched[use.channels] = True
        starts = self.offsets
        return tuple(
            site
            for site in self.sites
            if not site.pinned and not touched[starts[site.id] : starts[site.id] + site.size].any()
        )


def find_sites(network: Network) -> Sites:
    """Return the sites of a network in normal form.

    Raises:
        InvalidNetwork: shapes cannot be inferred.
    """
    walk = followed(network, infer_shapes(network))
    table = walk.table
    output = walk.axes_of(network.output)[-1]
    if output is not None:
        table.pin(output, OUTPUT)
    _pin_partly_used_arrays(network, table)
    return _collect(walk, output)


def _pin_partly_used_arrays(network: Network, table: UnitTable) -> None:
    """An array that another node reads in a way no rule recorded must keep its shape."""
    readers = {name: {i for i, _ in uses} for name, uses in network.consumers().items()}
    for (array, _), uses in table.arrays.items():
        if readers[array] - {use.node for use in uses}:
            table.pin(uses[0].units.tolist(), f"its array {array!r} is also read elsewhere")


def _collect(walk: Walk, output: Units | None) -> Sites:
    """Number the channels site by site and rewrite every use in those numbers."""
    table = walk.table
    sites, numbers = _number_units(walk)
    names = [node.outputs[0] for node in walk.network.nodes]

    def channels(units: Units) -> Channels:
        return numbers[table.roots(units)]

    return Sites(
        sites=tuple(sites),
        arrays=tuple(
            ArraySlice(node=names[u.node], array=u.array, axis=u.axis, channels=channels(u.units), role=u.role)
            for u in table.array_uses()
        ),
        targets=tuple(
            TargetSize(node=names[u.node], operand=u.operand, index=u.index, channels=channels(u.units))
            for u in table.sizes
        ),
        positions=tuple(
            Positions(node=names[u.node], operand=u.operand, channels=channels(u.units)) for u in table.indices
        ),
        attributes=tuple(
            AttributeSize(node=names[u.node], attribute=u.attribute, channels=channels(u.units))
            for u in table.attributes
        ),
        readers=tuple(
            Reader(node=names[g.node], operand=g.operand, axis=g.axis, channels=channels(g.units)) for g in table.gates
        ),
        branches=tuple(
            Branch(
                node=names[s.node],
                operand=s.operand,
                axis=s.axis,
                rank=len(walk.shapes[walk.network.nodes[s.node].inputs[s.operand]]),
                channels=channels(s.branch),
                stream=None if s.stream is None else channels(s.stream),
            )
            for s in table.scatters
        ),
        parts=_parts(walk, sites, channels),
        output=_free_output(table, output, numbers),
    )


def _parts(walk: Walk, sites: list[Site], channels: Callable[[Units], Channels]) -> tuple[Channels, ...]:
    """Return what values hold without holding all channels of any site, each set of channels once."""
    number_of_site = np.repeat(np.arange(len(sites)), [site.size for site in sites])
    found: dict[bytes, Channels] = {}
    for factors in walk.factors.values():
        for factor in factors:
            held = np.unique(channels(factor.units))
            counts = np.bincount(number_of_site[held], minlength=len(sites))
            open_sites = [i for i in np.flatnonzero(counts) if not sites[i].pinned]
            if len(open_sites) == np.count_nonzero(counts) and all(counts[i] < sites[i].size for i in open_sites):
                found[held.tobytes()] = held
    return tuple(found.values())


def _number_units(walk: Walk) -> tuple[list[Site], Channels]:
    """Return the sites, and for each representative unit its channel number."""
    table, network = walk.table, walk.network
    reasons: dict[int, str] = {}
    for unit, reason in table.pinned.items():
        reasons.setdefault(table.find(unit), reason)
    groups: dict[tuple[int, str, str], list[int]] = {}
    for unit in range(len(table.parent)):
        if table.find(unit) == unit:
            groups.setdefault((*table.origin[unit], reasons.get(unit, "")), []).append(unit)
    layers = _layers_by_unit(walk)
    numbers = np.zeros(len(table.parent), dtype=np.int64)
    sites: list[Site] = []
    taken: dict[str, int] = {}
    count = 0
    for (node, name, reason), units in sorted(groups.items()):
        taken[name] = taken.get(name, 0) + 1
        numbers[units] = np.arange(count, count + len(units))
        count += len(units)
        sites.append(
            Site(
                id=name if taken[name] == 1 else f"{name}:{taken[name]}",
                size=len(units),
                layers=tuple(dict.fromkeys(layer for unit in units for layer in layers.get(unit, ()))),
                spatial=network.nodes[node].op in ("Conv", "ConvTranspose"),
                pinned=reason,
            )
        )
    return sites, numbers


def _layers_by_unit(walk: Walk) -> dict[int, list[str]]:
    layers: dict[int, list[str]] = {}
    for use in walk.table.array_uses():
        node = walk.network.nodes[use.node]
        weights = node.inputs[LAYERS[node.op]] if node.op in LAYERS else ""
        if use.role == "row" and use.array == weights and not is_selection(use.array):
            for unit in dict.fromkeys(walk.table.roots(use.units).tolist()):
                layers.setdefault(unit, []).append(use.array)
    return layers


def _free_output(table: UnitTable, output: Units | None, numbers: Channels) -> Channels | None:
    """Return the channels of the logits if a single one of them can be cut out, else None."""
    if output is None:
        return None
    roots = table.roots(output)
    if len(set(roots.tolist())) < len(roots):
        return None
    reasons = {reason for unit, reason in table.pinned.items() if table.find(unit) in set(roots.tolist())}
    return numbers[roots] if reasons == {OUTPUT} else None
