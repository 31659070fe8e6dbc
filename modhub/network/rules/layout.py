"""Operators that move positions: units go where their positions go.

Where such an operator is told positions or lengths along an axis that is cut in the end, these change too. That is
known only when the whole network has been seen, so each of these rules has a second half in `FINISH`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modhub.network.rules.layers import pin_all
from modhub.network.rules.walk import Factor, groups_of_axes, is_batch
from modhub.network.units import IndexUse, SizeUse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.network.network import Node
    from modhub.network.rules.walk import Axes, Rule, Walk
    from modhub.network.units import Units

LOST = "moves it in a way that cannot be followed"


def transpose(walk: Walk, index: int, node: Node) -> None:  # noqa: ARG001
    """Axes change places."""
    rank = walk.rank(node.inputs[0])
    order = node.ints("perm", tuple(reversed(range(rank))))
    places = {axis: place for place, axis in enumerate(order)}
    walk.factors[node.outputs[0]] = tuple(factor.moved(places) for factor in walk.factors_of(node.inputs[0]))


def squeeze(walk: Walk, index: int, node: Node) -> None:
    """Axes of length one appear or vanish."""
    if len(node.inputs) > 1 and not walk.is_array(node.inputs[1]):
        pin_all(walk, index, node)
        return
    shorter, longer = sorted((node.inputs[0], node.outputs[0]), key=walk.rank)
    rank = walk.rank(longer)
    given = walk.network.arrays[node.inputs[1]].ravel().tolist() if len(node.inputs) > 1 else _unit_axes(walk, longer)
    inserted = {int(axis) % rank for axis in given}
    rest = [axis for axis in range(rank) if axis not in inserted]
    places = dict(enumerate(rest)) if node.inputs[0] == shorter else {axis: place for place, axis in enumerate(rest)}
    _keep(walk, node, places)


def _unit_axes(walk: Walk, value: str) -> list[int]:
    return [axis for axis, size in enumerate(walk.shapes[value]) if size == 1]


def _keep(walk: Walk, node: Node, places: dict[int, int]) -> None:
    """Carry factors over to their axes' new places; pin those whose axis vanishes."""
    kept = []
    for factor in walk.factors_of(node.inputs[0]):
        if set(factor.axes) <= places.keys():
            kept.append(factor.moved(places))
        else:
            walk.pin_axes([factor.units], f"{node.label} {LOST}")
    walk.factors[node.outputs[0]] = tuple(kept)


def reshape(walk: Walk, index: int, node: Node) -> None:  # noqa: ARG001
    """Units follow their positions into the new axes, several of them where an axis is split."""
    source, target = node.inputs[0], node.outputs[0]
    groups = groups_of_axes(walk, source, target)
    busy = [axis for factor in walk.factors_of(source) for axis in factor.axes]
    result = []
    for factor in walk.factors_of(source):
        touched = [group for group in groups if set(group[0]) & set(factor.axes)]
        others = [axis for left, _ in touched for axis in left if axis in busy and axis not in factor.axes]
        reshaped = None if others else _reshaped(walk, factor, touched, source, target)
        if reshaped is None:
            walk.pin_axes([factor.units], f"{node.label} {LOST}")
        else:
            result.append(reshaped)
    walk.factors[target] = tuple(result)


def _reshaped(
    walk: Walk, factor: Factor, groups: Sequence[tuple[list[int], list[int]]], source: str, target: str
) -> Factor | None:
    left = [axis for axes, _ in groups for axis in axes]
    right = tuple(axis for _, axes in groups for axis in axes)
    if not right:
        return None
    before, after = walk.sizes(source), walk.sizes(target)
    spread = factor.units.reshape([before[axis] if axis in factor.axes else 1 for axis in left])
    units = np.broadcast_to(spread, [before[axis] for axis in left]).reshape([after[axis] for axis in right])
    reshaped = Factor(right, units).without_constant_axes()
    return None if any(is_batch(walk.shapes[target][axis]) for axis in reshaped.axes) else reshaped


def concat(walk: Walk, index: int, node: Node) -> None:
    """Along its axis, positions line up one operand after the other; elsewhere they meet."""
    rank = walk.rank(node.outputs[0])
    along = node.integer("axis", 0) % rank
    structures = {tuple(sorted(f.axes for f in walk.factors_of(name))) for name in node.inputs}
    if len(structures) > 1:
        for name in node.inputs:
            walk.axes_of(name)
        _open_bare_parts(walk, index, node, along)
    result = []
    for axes in sorted({f.axes for name in node.inputs for f in walk.factors_of(name)}):
        parts = [next((f.units for f in walk.factors_of(n) if f.axes == axes), None) for n in node.inputs]
        found = [units for units in parts if units is not None]
        if len(found) < len(parts):
            walk.pin_axes(found, f"{node.label} joins it with an axis that cannot be cut")
            continue
        if along in axes:
            found = [np.concatenate(found, axis=axes.index(along))]
        for units in found[1:]:
            walk.table.unite(found[0].ravel(), units.ravel())
        result.append(Factor(axes, found[0]))
    walk.factors[node.outputs[0]] = tuple(result)


def _open_bare_parts(walk: Walk, index: int, node: Node, along: int) -> None:
    """Give parts without units along the axis some that are never cut, so that the other parts can be."""
    if not any(f.axes == (along,) for name in node.inputs for f in walk.factors_of(name)):
        return
    for name in node.inputs:
        if all(along not in factor.axes for factor in walk.factors_of(name)):
            units = walk.table.open(walk.sizes(name)[along], node=index, name=name)
            walk.table.pin(units.tolist(), f"{node.label} joins it, but no layer makes it")
            walk.factors[name] = (*walk.factors_of(name), Factor((along,), units))


def split(walk: Walk, index: int, node: Node) -> None:
    """Each output takes the next positions along the axis."""
    if len(node.inputs) < 2 or not walk.is_array(node.inputs[1]):
        pin_all(walk, index, node)
        return
    along = node.integer("axis", 0) % walk.rank(node.inputs[0])
    ends = np.cumsum(walk.network.arrays[node.inputs[1]]).tolist()
    for name, start, end in zip(node.outputs, [0, *ends], ends, strict=False):
        if name:
            _take(walk, node.inputs[0], name, along, np.arange(start, end))


def _take(walk: Walk, source: str, target: str, axis: int, positions: Units) -> None:
    """Let a value be some positions of another along an axis."""
    result = []
    for factor in walk.factors_of(source):
        if axis in factor.axes:
            taken = factor.units.take(positions, axis=factor.axes.index(axis))
            result.append(factor.without_constant_axes(taken))
        else:
            result.append(factor)
    walk.factors[target] = tuple(result)


def slice_(walk: Walk, index: int, node: Node) -> None:
    """Each axis keeps a range of positions."""
    bounds = _bounds(walk, node)
    if bounds is None:
        pin_all(walk, index, node)
        return
    source, target = node.inputs[0], node.outputs[0]
    walk.factors[target] = walk.factors_of(source)
    for axis, _, positions in bounds:
        if positions.step != 1 and any(axis in factor.axes for factor in walk.factors_of(source)):
            walk.pin(source, f"{node.label} takes every {positions.step}th of it")
        _take(walk, target, target, axis, np.arange(positions.start, positions.stop, positions.step))


def _bounds(walk: Walk, node: Node) -> list[tuple[int, int, range]] | None:
    """Return `(axis, position in the arrays, taken positions)` per sliced axis, or None where that is not known."""
    given = [name for name in node.inputs[1:] if name]
    if not all(walk.is_array(name) for name in given):
        return None
    values = [walk.network.arrays[name].tolist() if name else None for name in node.inputs[1:]]
    starts, ends = values[0] or [], values[1] or []
    axes = (values[2] if len(values) > 2 else None) or list(range(len(starts)))
    steps = (values[3] if len(values) > 3 else None) or [1] * len(starts)
    sizes, rank = walk.sizes(node.inputs[0]), walk.rank(node.inputs[0])
    result = []
    for i, (start, end, axis, step) in enumerate(zip(starts, ends, axes, steps, strict=True)):
        size = sizes[axis % rank]
        result.append((axis % rank, i, range(*slice(start, end, step).indices(size))))
    return result


def gather(walk: Walk, index: int, node: Node) -> None:
    """Takes positions along an axis; from a constant table, opens the table's columns (an embedding)."""
    data, indices = node.inputs
    axis = node.integer("axis", 0) % walk.rank(data)
    if walk.is_array(data):
        _embed(walk, index, node, axis)
        return
    for factor in walk.factors_of(indices):
        walk.pin_axes([factor.units], f"{node.label} uses it as positions")
    inserted = walk.rank(indices)
    touches = any(axis in factor.axes for factor in walk.factors_of(data))
    if touches and (not walk.is_array(indices) or inserted > 1):
        walk.axes_of(data, mixed=(axis,))
        walk.pin(data, f"{node.label} {LOST}")
    elif touches and inserted == 1:
        positions = walk.network.arrays[indices].astype(np.int64) % walk.sizes(data)[axis]
        _take(walk, data, node.outputs[0], axis, positions)
        return
    elif touches:
        _pick(walk, node, axis, int(walk.network.arrays[indices]))
        return
    places = {a: a if a < axis else a + inserted - 1 for a in range(walk.rank(data)) if a != axis}
    _keep(walk, node, places)


def _embed(walk: Walk, index: int, node: Node, axis: int) -> None:
    table = walk.network.arrays[node.inputs[0]]
    if axis or table.ndim != 2 or walk.factors_of(node.inputs[1]):
        pin_all(walk, index, node)
        return
    opened = walk.table.open(table.shape[1], node=index, name=node.inputs[0])
    walk.use(index, node.inputs[0], 1, opened, role="row")
    axes: Axes = [None] * (walk.rank(node.outputs[0]) - 1)
    walk.put(node.outputs[0], [*axes, opened])


def _pick(walk: Walk, node: Node, axis: int, position: int) -> None:
    """Take one position along an axis, which vanishes; a factor along that axis alone is pinned."""
    places = {a: a if a < axis else a - 1 for a in range(walk.rank(node.inputs[0])) if a != axis}
    walk.whole.setdefault(node.inputs[0], set()).add(axis)
    result = []
    for factor in walk.factors_of(node.inputs[0]):
        if factor.axes == (axis,):
            walk.pin_axes([factor.units], f"{node.label} takes one position of it")
        elif axis in factor.axes:
            place = factor.axes.index(axis)
            rest = tuple(a for a in factor.axes if a != axis)
            taken = np.asarray(factor.units.take(position, axis=place), dtype=np.int64)
            result.append(Factor(rest, taken).without_constant_axes().moved(places))
        else:
            result.append(factor.moved(places))
    walk.factors[node.outputs[0]] = tuple(result)


def local(walk: Walk, index: int, node: Node) -> None:  # noqa: ARG001
    """Padding, resizing and repeating keep the axes they do not touch; units on a touched axis are pinned."""
    offset = walk.rank(node.outputs[0]) - walk.rank(node.inputs[0])
    before, after = walk.shapes[node.inputs[0]], walk.shapes[node.outputs[0]]
    changed = {axis for axis, size in enumerate(before) if size != after[axis + offset]}
    axes = walk.axes_of(node.inputs[0], mixed=changed)
    walk.pin_axes((axes[axis] for axis in changed), f"{node.label} changes its length")
    kept: Axes = [None if axis in changed else units for axis, units in enumerate(axes)]
    walk.put(node.outputs[0], [*[None] * offset, *kept])


def finish_target(walk: Walk, index: int, node: Node) -> None:
    """The constant target shape counts the kept positions of each axis that it spells out."""
    operand = 3 if node.op == "Resize" else 1
    if len(node.inputs) <= operand or not node.inputs[operand]:
        return
    for axis, units in enumerate(walk.axes_of(node.outputs[0])):
        if units is None:
            continue
        target = walk.network.arrays.get(node.inputs[operand])
        if target is None or "axes" in node.attributes:
            walk.pin_axes([units], f"{node.label} has a target that cannot be followed")
        elif int(target[axis]) > 1 or (int(target[axis]) == 1 and len(units) == 1):
            walk.table.sizes.append(SizeUse(node=index, operand=operand, index=axis, units=units))


def finish_split(walk: Walk, index: int, node: Node) -> None:
    """The lengths of the parts count their kept positions."""
    along = node.integer("axis", 0) % walk.rank(node.inputs[0])
    for part, name in enumerate(node.outputs):
        units = walk.axes_of(name)[along] if name else None
        if units is not None:
            walk.table.sizes.append(SizeUse(node=index, operand=1, index=part, units=units))


def finish_slice(walk: Walk, index: int, node: Node) -> None:
    """Start and end count the kept positions before them."""
    axes = walk.axes_of(node.inputs[0])
    for axis, i, positions in _bounds(walk, node) or ():
        units = axes[axis]
        if units is None or positions.step != 1:
            continue
        spelled = [int(walk.network.arrays[node.inputs[operand]][i]) for operand in (1, 2)]
        if spelled != [positions.start, positions.stop]:
            if len(positions) < len(units):
                walk.table.pin(units.tolist(), f"{node.label} counts its positions from the end")
            continue
        for operand, count in zip((1, 2), spelled, strict=True):
            if count:
                walk.table.sizes.append(SizeUse(node=index, operand=operand, index=i, units=units[:count]))


def finish_gather(walk: Walk, index: int, node: Node) -> None:
    """Constant positions are renumbered; a single one has to stay where it is."""
    data, indices = node.inputs
    if walk.is_array(data) or not walk.is_array(indices):
        return
    units = walk.axes_of(data)[node.integer("axis", 0) % walk.rank(data)]
    if units is not None and walk.rank(indices) != 1:
        walk.pin_axes([units], f"{node.label} takes one position of it")
    elif units is not None:
        walk.table.indices.append(IndexUse(node=index, operand=1, units=units))


RULES: dict[str, Rule] = {
    **dict.fromkeys(("Pad", "Resize", "Expand", "Tile"), local),
    **dict.fromkeys(("Reshape", "Flatten"), reshape),
    **dict.fromkeys(("Squeeze", "Unsqueeze"), squeeze),
    "Transpose": transpose,
    "Concat": concat,
    "Split": split,
    "Slice": slice_,
    "Gather": gather,
}
FINISH: dict[str, Rule] = {
    **dict.fromkeys(("Reshape", "Expand", "Resize"), finish_target),
    "Split": finish_split,
    "Slice": finish_slice,
    "Gather": finish_gather,
}
