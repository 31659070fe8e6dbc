"""`sites.json` of a base package: which positions of which arrays belong to which channel.

It lets anybody cut a module out of a base by array slicing alone, without analysing the graph; `docs/format.md` states
it in full. Channels are counted over all sites. Runs keep it short: ``[first, count, repeat]`` stands for the channels
``first, first+1, ...`` (`count` of them), each `repeat` times in a row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from modhub.errors import FormatError
from modhub.network.sites import ArraySlice, AttributeSize, Branch, Reader, Site, Sites, TargetSize

if TYPE_CHECKING:
    from modhub.network.sites import Channels

FORMAT = "modhub/sites@1"
SITES_FILE = "sites.json"
MAX_CHANNELS = 2**24
"""Channels over all sites, and positions of one run list; a 100 M parameter transformer has about 10^5."""


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
        "targets": [{"node": u.node, "index": u.index, "channels": to_runs(u.channels)} for u in sites.targets],
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
        "output": None if sites.output is None else to_runs(sites.output),
    }
    return (json.dumps(document, separators=(",", ":"), sort_keys=True) + "\n").encode()


def sites_from_json(data: bytes) -> Sites:
    """Return the sites that `sites_to_json` wrote.

    Raises:
        FormatError: the document is malformed, of another major version, or numbers a channel that does not exist.
    """
    document = _object(json.loads(data), "sites.json")
    if document.get("format") != FORMAT:
        raise FormatError(f"expected {FORMAT!r}, got {document.get('format')!r}", where="format", file=SITES_FILE)
    try:
        sites = _read(document)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"is malformed: {type(error).__name__} {error}", file=SITES_FILE) from error
    return sites


def _read(document: Mapping[str, Any]) -> Sites:
    sites = tuple(
        Site(
            id=str(s["id"]),
            size=_count(s["size"]),
            layers=tuple(map(str, s["layers"])),
            spatial=bool(s["spatial"]),
            pinned=str(s["pinned"]),
        )
        for s in document["sites"]
    )
    total = sum(site.size for site in sites)
    if total > MAX_CHANNELS:
        raise FormatError(f"{total} channels, at most {MAX_CHANNELS} are allowed", where="sites", file=SITES_FILE)

    def channels(entry: Mapping[str, Any], key: str = "channels") -> Channels:
        return from_runs(entry[key], total=total)

    return Sites(
        sites=sites,
        arrays=tuple(
            ArraySlice(
                node=str(u["node"]),
                array=str(u["array"]),
                axis=_count(u["axis"]),
                channels=channels(u),
                role=str(u["role"]),
            )
            for u in document["arrays"]
        ),
        targets=tuple(
            TargetSize(node=str(u["node"]), index=_count(u["index"]), channels=channels(u)) for u in document["targets"]
        ),
        attributes=tuple(
            AttributeSize(node=str(u["node"]), attribute=str(u["attribute"]), channels=channels(u))
            for u in document["attributes"]
        ),
        readers=tuple(
            Reader(node=str(u["node"]), operand=_count(u["operand"]), axis=_count(u["axis"]), channels=channels(u))
            for u in document["readers"]
        ),
        branches=tuple(
            Branch(
                node=str(b["node"]),
                operand=_count(b["operand"]),
                axis=_count(b["axis"]),
                rank=_count(b["rank"]),
                channels=channels(b),
                stream=None if b["stream"] is None else channels(b, "stream"),
            )
            for b in document["branches"]
        ),
        output=None if document["output"] is None else from_runs(document["output"], total=total),
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


def from_runs(runs: list[list[int]], *, total: int) -> Channels:
    """Return the channel numbers that runs stand for.

    Raises:
        FormatError: a run is malformed or leaves ``0..total-1``, or there are too many positions.
    """
    parts = []
    positions = 0
    for run in runs:
        first, count, repeat = (_count(number) for number in run)
        positions += count * repeat
        if first + count > total or positions > MAX_CHANNELS:
            raise FormatError(f"run {run} leaves the {total} channels or is too long", where="channels", file=SITES_FILE)
        parts.append(np.repeat(np.arange(first, first + count, dtype=np.int64), repeat))
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise FormatError(f"expected a non-negative integer, got {value!r}", file=SITES_FILE)
    return value


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise FormatError(f"expected an object, got {type(value).__name__}", file=name)
    return value
