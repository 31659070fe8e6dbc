"""From packages back to networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.errors import FormatError
from modhub.network.network import BATCH
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


def network_of(package: Package, base: Package | None = None) -> Network:
    """Return what a package computes, as a network.

    A package with its own graph (a base, a composite, a standalone module) is read as it is; a delta is cut out of its
    base. Both ways give the same network for a module that carries both forms.

    Raises:
        FormatError: a delta without a base, with the wrong one, or files that do not fit together.
    """
    if "standalone" in package.manifest.forms:
        return read_network(package)
    if base is None:
        raise FormatError(f"is a delta and needs its base {package.manifest.dependencies[0].package!r}", file=package.name)
    parent, sites, module = read_module(package, base)
    return sliced(parent, sites, module)


def read_module(package: Package, base: Package) -> tuple[Network, Sites, ClassModule]:
    """Return the parent, its sites and the class module that a delta describes.

    Raises:
        FormatError: the delta belongs to another base or does not fit it.
    """
    parent = network_of(base)
    sites = sites_from_json(base.files[SITES_FILE])
    module = from_delta(
        package.files[DELTA_FILE],
        parent,
        sites,
        base=fingerprint(parent),
        calibration=package.manifest.output.calibration,
    )
    return parent, sites, module


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
    port = package.manifest.input
    network = read_graph(package.files[GRAPH_FILE], header, arrays, input_port=port)
    _check_declared_input(package.files[GRAPH_FILE], network)
    return network


def _check_declared_input(graph: bytes, network: Network) -> None:
    import onnx
    from onnx import TensorProto

    value = onnx.load_model_from_string(graph).graph.input[0]
    tensor = value.type.tensor_type
    shape = tuple(dim.dim_param or dim.dim_value for dim in tensor.shape.dim)
    dtype = {TensorProto.FLOAT: "float32", TensorProto.INT64: "int64"}.get(tensor.elem_type, "unknown")
    declared = (network.input.name, network.input.dtype, network.input.shape)
    if (value.name, dtype, shape) != declared or shape[:1] != (BATCH,):
        raise FormatError(f"takes {value.name} {dtype} {list(shape)}, the manifest says {declared}")
