"""From packages back to networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from modhub.errors import FormatError
from modhub.network.onnx_file import WEIGHTS_FILE, fingerprint
from modhub.network.slice import sliced
from modhub.package.delta import DELTA_FILE, from_delta
from modhub.package.graph_reader import read_graph
from modhub.package.package import GRAPH_FILE
from modhub.package.safetensors_reader import read_arrays, read_header
from modhub.package.sites_file import SITES_FILE, sites_from_json

if TYPE_CHECKING:
    from modhub.network.modules import ClassModule
    from modhub.network.network import Network
    from modhub.network.sites import Sites
    from modhub.package.package import Package


@dataclass(frozen=True, kw_only=True)
class Base:
    """A base package, read: its network, the network's sites and its fingerprint."""

    network: Network
    sites: Sites
    fingerprint: str


_open_bases: WeakKeyDictionary[Package, Base] = WeakKeyDictionary()
"""A thousand deltas of one base read it once; it is kept no longer than its package."""


def network_of(package: Package, base: Package | None = None) -> Network:
    """Return what a package computes, as a network.

    A package with its own graph (a base, a composite, a standalone module) is read as it is; a delta is cut out of its
    base. Both ways give the same network for a module that carries both forms.

    Raises:
        FormatError: a delta without a base, with the wrong one, or files that do not fit together.
    """
    if GRAPH_FILE in package.files:
        return read_network(package)
    if base is None:
        needed = package.manifest.dependencies[0].package
        raise FormatError(f"is a delta and needs its base {needed!r}", file=f"{package.name} {package.version}")
    opened = open_base(base)
    return sliced(opened.network, opened.sites, read_module(package, base))


def open_base(package: Package) -> Base:
    """Return a base package's network, sites and fingerprint; each package is read once.

    Raises:
        FormatError: a file breaks a rule of the format, or there are no sites.
    """
    if package not in _open_bases:
        if SITES_FILE not in package.files:
            raise FormatError("is missing", file=SITES_FILE)
        network = read_network(package)
        try:
            sites = sites_from_json(package.files[SITES_FILE])
        except FormatError as error:
            raise error.in_file(SITES_FILE) from error
        _open_bases[package] = Base(network=network, sites=sites, fingerprint=fingerprint(network))
    return _open_bases[package]


def read_module(package: Package, base: Package) -> ClassModule:
    """Return the class module that a delta describes.

    Raises:
        FormatError: the delta belongs to another base or does not fit it.
    """
    opened = open_base(base)
    calibration = package.manifest.output.calibration
    try:
        return from_delta(
            package.files[DELTA_FILE],
            opened.network,
            opened.sites,
            base=opened.fingerprint,
            calibration=calibration,
        )
    except FormatError as error:
        raise error.in_file(DELTA_FILE) from error


def read_network(package: Package) -> Network:
    """Return the network of a package's own graph, read strictly.

    Raises:
        FormatError: graph or weights break a rule of the format.
    """
    missing = [name for name in (GRAPH_FILE, WEIGHTS_FILE) if name not in package.files]
    if missing:
        raise FormatError("is missing", file=missing[0])
    weights = package.files[WEIGHTS_FILE]
    try:
        header = read_header(weights)
        arrays = read_arrays(weights, header)
    except FormatError as error:
        raise error.in_file(WEIGHTS_FILE) from error
    return read_graph(package.files[GRAPH_FILE], header, arrays, input_port=package.manifest.input)
