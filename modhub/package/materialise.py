"""From packages back to networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from modhub.errors import FormatError
from modhub.network.onnx_file import WEIGHTS_FILE, fingerprint
from modhub.network.slice import sliced
from modhub.package.delta import DELTA_FILE, completed, from_delta
from modhub.package.graph_reader import read_graph
from modhub.package.int8 import INT8_GRAPH, read_int8
from modhub.package.package import GRAPH_FILE
from modhub.package.safetensors_reader import read_arrays, read_header
from modhub.package.sites_file import SITES_FILE, sites_from_json
from modhub.package.stem import NO_STEM, STEM_FILE, VALUES_FILE, from_stem, to_weights

if TYPE_CHECKING:
    from modhub.fsops import Buffer
    from modhub.network.modules import ClassModule
    from modhub.network.network import Network
    from modhub.network.sites import Sites
    from modhub.package.package import Package
    from modhub.package.stem import Stem


@dataclass(frozen=True, kw_only=True)
class Base:
    """A base package, read: its network, the network's sites, its fingerprint, and what its modules have in common."""

    network: Network
    sites: Sites
    fingerprint: str
    stem: Stem = NO_STEM


_open_bases: WeakKeyDictionary[Package, Base] = WeakKeyDictionary()
"""A thousand deltas of one base read it once; it is kept no longer than its package."""


def network_of(package: Package, base: Package | None = None) -> Network:
    """Return what a package computes, as a network.

    A package with its own graph (a base, a composite, a standalone module) is read as it is; a delta is cut out of its
    base. Both ways give the same network for a module that carries both forms. The form ``int8``, which differs, is
    read only where no other was fetched.

    Raises:
        FormatError: a delta without a base, with the wrong one, or files that do not fit together.
    """
    if GRAPH_FILE in package.files:
        return read_network(package)
    if is_int8(package):
        return read_int8(package)
    if base is None:
        needed = package.manifest.dependencies[0].package
        raise FormatError(f"is a delta and needs its base {needed!r}", file=f"{package.name} {package.version}")
    return sliced(*open_module(package, base))


def is_int8(package: Package) -> bool:
    """Tell whether a module is there in eight bits only."""
    return INT8_GRAPH in package.files and not {GRAPH_FILE, DELTA_FILE} & set(package.files)


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
            sites = sites_from_json(package.read(SITES_FILE))
        except FormatError as error:
            raise error.in_file(SITES_FILE) from error
        stem = read_stem(package)
        _open_bases[package] = Base(network=network, sites=sites, fingerprint=fingerprint(network), stem=stem)
    return _open_bases[package]


def open_module(package: Package, base: Package) -> tuple[Network, Sites, ClassModule]:
    """Return what a delta is cut out of, and how: the base with all weights that the module keeps, sites and masks.

    Raises:
        FormatError: the delta belongs to another base or does not fit it.
    """
    opened, data = open_base(base), package.data(DELTA_FILE)
    module = _module(data, package, opened)
    try:
        network = completed(data, opened.network, module, stem=opened.stem)
    except FormatError as error:
        raise error.in_file(DELTA_FILE) from error
    return network, opened.sites, module


def read_module(package: Package, base: Package) -> ClassModule:
    """Return the class module that a delta describes.

    Raises:
        FormatError: the delta belongs to another base or does not fit it.
    """
    return _module(package.data(DELTA_FILE), package, open_base(base))


def _module(data: Buffer, package: Package, opened: Base) -> ClassModule:
    """Return the class module that the bytes of a package's delta describe, over the base that was opened."""
    calibration = package.manifest.output.calibration
    try:
        return from_delta(
            data,
            opened.network,
            opened.sites,
            base=opened.fingerprint,
            calibration=calibration,
            stem=opened.stem,
        )
    except FormatError as error:
        raise error.in_file(DELTA_FILE) from error


def read_network(package: Package) -> Network:
    """Return the network of a package's own graph, read strictly.

    Raises:
        FormatError: graph or weights break a rule of the format.
    """
    if GRAPH_FILE not in package.files:
        raise FormatError("is missing", file=GRAPH_FILE)
    weights = weights_of(package)
    try:
        header = read_header(weights)
        arrays = read_arrays(weights, header)
    except FormatError as error:
        raise error.in_file(WEIGHTS_FILE) from error
    return read_graph(package.read(GRAPH_FILE), header, arrays, input_port=package.manifest.input)


def weights_of(package: Package) -> Buffer:
    """Return the bytes of `weights.safetensors`, as they are or made of the stem and its values.

    Raises:
        FormatError: there are neither, or stem and values do not fit together.
    """
    if WEIGHTS_FILE in package.files:
        return package.data(WEIGHTS_FILE)
    if VALUES_FILE not in package.files:
        raise FormatError("is missing", file=WEIGHTS_FILE)
    stem = read_stem(package)
    try:
        return to_weights(package.data(VALUES_FILE), stem)
    except FormatError as error:
        raise error.in_file(VALUES_FILE) from error


def read_stem(package: Package) -> Stem:
    """Return what the modules of a base have in common; nothing where the package says nothing of it.

    Raises:
        FormatError: the file is malformed, or the package holds values without it.
    """
    if STEM_FILE not in package.files:
        if VALUES_FILE in package.files:
            raise FormatError("is missing", file=STEM_FILE)
        return NO_STEM
    try:
        return from_stem(package.data(STEM_FILE), is_pruned=VALUES_FILE in package.files)
    except FormatError as error:
        raise error.in_file(STEM_FILE) from error
