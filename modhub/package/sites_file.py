"""`sites.json` of a base package: which positions of which arrays belong to which channel.

It lets anybody cut a module out of a base by array slicing alone, without analysing the graph; `docs/format.md` states
it in full. Channels are counted over all sites. Runs keep it short: ``[first, count, repeat]`` stands for the channels
``first, first+1, ...`` (`count` of them), each `repeat` times in a row.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from modhub.errors import FormatError
from modhub.network.sites import ArraySlice, AttributeSize, Branch, Positions, Reader, Site, Sites, TargetSize
from modhub.spec import limits
from modhub.spec.document import Fields, check_format, flag, list_of, natural, one_of, parse_json, text

if TYPE_CHECKING:
    from modhub.network.sites import Channels

FORMAT = "modhub/sites@1"
SITES_FILE = "sites.json"
ROLES = ("row", "column", "element")
"""What an array's positions do with their channels: make them, read them, or pass them on."""


def sites_to_json(sites: Sites) -> bytes:
    """Return the sites as the bytes of `sites.json`; equal sites give equal bytes."""
    document = {
        "format": FORMAT,
        "sites": [
            {"id": s.id, "size": s.size, "layers": list(s.layers), "spatial": s.spatial, "pinned": s.pinned}
            for s in sites.sites
        ],
        "arrays": [
            {"node": u.node, "array": u.array, "axis": u.axis, "role": u.role, "channels": to_runs(u.channels)}
            for u in sites.arrays
        ],
        "targets": [
            {"node": u.node, "operand": u.operand, "index": u.index, "channels": to_runs(u.channels)}
            for u in sites.targets
        ],
        "positions": [{"node": u.node, "operand": u.operand, "channels": to_runs(u.channels)} for u in sites.positions],
        "attributes": [
            {"node": u.node, "attribute": u.attribute, "channels": to_runs(u.channels)} for u in sites.attributes
        ],
        "readers": [
            {"node": u.node, "operand": u.operand, "axis": u.axis, "channels": to_runs(u.channels)}
            for u in sites.readers
        ],
        "branches": [
            {
                "node": b.node,
                "operand": b.operand,
                "axis": b.axis,
                "rank": b.rank,
                "channels": to_runs(b.channels),
                "stream": None if b.stream is None else to_runs(b.stream),
            }
            for b in sites.branches
        ],
        "parts": [to_runs(part) for part in sites.parts],
        "output": None if sites.output is None else to_runs(sites.output),
    }
    return (json.dumps(document, separators=(",", ":"), sort_keys=True) + "\n").encode()


def sites_from_json(data: bytes) -> Sites:
    """Return the sites that `sites_to_json` wrote.

    Raises:
        FormatError: the document is malformed, of another major version, numbers a channel that does not exist, or
            describes more positions than `limits.SITE_POSITIONS`; `where` is the path.
    """
    fields = Fields(parse_json(data, limit=limits.SITES_BYTES))
    check_format(fields.required("format", text), expected=FORMAT)
    sites = fields.required("sites", list_of(_site))
    if len({site.id for site in sites}) < len(sites):
        raise FormatError("two sites have one id", where="sites")
    runs = RunReader(total=sum(site.size for site in sites))
    return Sites(
        sites=sites,
        arrays=fields.required("arrays", list_of(lambda value: _array_slice(value, runs))),
        targets=fields.required("targets", list_of(lambda value: _target(value, runs))),
        positions=fields.required("positions", list_of(lambda value: _positions(value, runs))),
        attributes=fields.required("attributes", list_of(lambda value: _attribute(value, runs))),
        readers=fields.required("readers", list_of(lambda value: _reader(value, runs))),
        branches=fields.required("branches", list_of(lambda value: _branch(value, runs))),
        parts=fields.required("parts", list_of(runs)),
        output=fields.optional("output", runs),
    )


class RunReader:
    """Reads ``[first, count, repeat]`` runs as channel numbers, and keeps account of all positions of a document.

    Args:
        total: channels over all sites.

    Raises:
        FormatError: there are too many channels.
    """

    def __init__(self, *, total: int) -> None:
        if total > limits.SITE_POSITIONS:
            raise FormatError(f"has {total} channels, at most {limits.SITE_POSITIONS} are allowed", where="sites")
        self._total = total
        self._left = limits.SITE_POSITIONS

    def __call__(self, value: object) -> Channels:
        """Return the channel numbers that a list of runs stands for.

        Raises:
            FormatError: a run is malformed or leaves the channels, or there are too many positions so far.
        """
        parts = [self._run(*run) for run in list_of(_three)(value)]
        if not parts:
            raise FormatError("expected at least one run")
        return np.concatenate(parts)

    def _run(self, first: int, count: int, repeat: int) -> Channels:
        if count == 0 or repeat == 0 or first + count > self._total:
            raise FormatError(f"the run {[first, count, repeat]} is empty or leaves the {self._total} channels")
        self._left -= count * repeat
        if self._left < 0:
            raise FormatError(f"describes more than {limits.SITE_POSITIONS} positions in all")
        return np.repeat(np.arange(first, first + count, dtype=np.int64), repeat)


def _three(value: object) -> tuple[int, int, int]:
    numbers = list_of(natural)(value)
    if len(numbers) != 3:
        raise FormatError(f"expected [first, count, repeat], got {len(numbers)} numbers")
    return numbers[0], numbers[1], numbers[2]


def _positive(value: object) -> int:
    number = natural(value)
    if number == 0:
        raise FormatError("expected a positive integer, got 0")
    return number


def _site(value: object) -> Site:
    fields = Fields(value)
    return Site(
        id=fields.required("id", text),
        size=fields.required("size", _positive),
        layers=fields.required("layers", list_of(text)),
        spatial=fields.required("spatial", flag),
        pinned=fields.required("pinned", text),
    )


def _array_slice(value: object, runs: RunReader) -> ArraySlice:
    fields = Fields(value)
    return ArraySlice(
        node=fields.required("node", text),
        array=fields.required("array", text),
        axis=fields.required("axis", natural),
        role=fields.required("role", one_of(*ROLES)),
        channels=fields.required("channels", runs),
    )


def _target(value: object, runs: RunReader) -> TargetSize:
    fields = Fields(value)
    return TargetSize(
        node=fields.required("node", text),
        operand=fields.required("operand", natural),
        index=fields.required("index", natural),
        channels=fields.required("channels", runs),
    )


def _positions(value: object, runs: RunReader) -> Positions:
    fields = Fields(value)
    return Positions(
        node=fields.required("node", text),
        operand=fields.required("operand", natural),
        channels=fields.required("channels", runs),
    )


def _attribute(value: object, runs: RunReader) -> AttributeSize:
    fields = Fields(value)
    return AttributeSize(
        node=fields.required("node", text),
        attribute=fields.required("attribute", text),
        channels=fields.required("channels", runs),
    )


def _reader(value: object, runs: RunReader) -> Reader:
    fields = Fields(value)
    return Reader(
        node=fields.required("node", text),
        operand=fields.required("operand", natural),
        axis=fields.required("axis", natural),
        channels=fields.required("channels", runs),
    )


def _branch(value: object, runs: RunReader) -> Branch:
    fields = Fields(value)
    return Branch(
        node=fields.required("node", text),
        operand=fields.required("operand", natural),
        axis=fields.required("axis", natural),
        rank=fields.required("rank", natural),
        channels=fields.required("channels", runs),
        stream=fields.optional("stream", runs),
    )


def to_runs(channels: Channels) -> list[list[int]]:
    """Return channel numbers as ``[first, count, repeat]`` runs."""
    runs: list[list[int]] = []
    values, repeats = _repeats(channels)
    for value, repeat in zip(values, repeats, strict=True):
        if runs and runs[-1][2] == repeat and value == runs[-1][0] + runs[-1][1]:
            runs[-1][1] += 1
        else:
            runs.append([value, 1, repeat])
    return runs


def _repeats(channels: Channels) -> tuple[list[int], list[int]]:
    if len(channels) == 0:
        return [], []
    starts = np.flatnonzero(np.diff(channels, prepend=channels[0] - 1))
    return channels[starts].tolist(), np.diff([*starts.tolist(), len(channels)]).tolist()
