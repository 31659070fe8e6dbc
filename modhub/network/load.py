"""Any ONNX classifier in, a `Network` in normal form out."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import TYPE_CHECKING

from modhub.errors import InvalidNetwork, NotFound
from modhub.network.model_file import read_model
from modhub.network.network import BATCH, OPSET, Network
from modhub.network.onnx_file import from_model
from modhub.network.passes.arithmetic import fold_arithmetic
from modhub.network.passes.batchnorm import fold_batchnorm
from modhub.network.passes.casts import remove_casts
from modhub.network.passes.clean import drop_unused, remove_identities
from modhub.network.passes.constants import fold_constants, without_weights
from modhub.network.passes.functions import inline_functions
from modhub.network.passes.layout import channels_first, merge_transposes
from modhub.network.passes.linear import normalise_linear
from modhub.network.passes.logits import expose_logits
from modhub.network.passes.names import MAX_NAME, UNSAFE, fresh_name, make_names_safe, rename
from modhub.network.passes.positions import spell_out_positions
from modhub.network.passes.selection import shortcuts_to_convolutions
from modhub.network.shapes import infer_shapes
from modhub.spec.ports import InputPort

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from modhub.network.network import Array

NAMES = {"image": "image", "tokens": "tokens", "features": "features", "audio": "audio"}

PASSES = (
    make_names_safe,
    remove_identities,
    remove_casts,
    channels_first,
    merge_transposes,
    fold_batchnorm,
    shortcuts_to_convolutions,
    normalise_linear,
    fold_arithmetic,
    spell_out_positions,
    expose_logits,
    drop_unused,
)


def load(source: str | Path | bytes) -> Network:
    """Return the ONNX classifier at a path, or in bytes, as a network in normal form.

    Normal form: opset 20, default operator domain, constants and batch-norm folded, fully connected layers as `Gemm`
    with weights ``[out, in]`` and a bias, parameter-free shortcuts (slice and pad) as 1x1 convolutions with a 0/1
    matrix, a final softmax removed, images as NCHW, safe and unique names, no metadata of the exporter, no arithmetic
    on the size of the batch. The function computed is the same up to rounding.

    Raises:
        NotFound: there is no such file.
        InvalidNetwork: it is no ONNX model, not a classifier with one input and one output ``[batch, classes]``, or its
            shapes are unknown before running.
        UnsupportedOperator: it holds an operator outside the default domain.
    """
    model, arrays = simplified(*_parse(source))
    model = _with_safe_input(model)
    network = from_model(model, external=arrays, input_port=_input_port(model))
    for rewrite in PASSES:
        network = rewrite(network)
    return _with_contract(network)


def simplified(model: onnx.ModelProto, arrays: Mapping[str, Array]) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """Return the model at opset 20 with local functions inlined and everything constant folded, and its arrays.

    Args:
        model: large arrays are external data, before and after.
        arrays: those arrays.

    Raises:
        InvalidNetwork: the model is malformed or cannot be converted.
    """
    from onnx import checker

    try:
        checker.check_model(_with_arrays_as_inputs(model))
    except (checker.ValidationError, RuntimeError, ValueError) as error:
        raise InvalidNetwork(f"is not a valid ONNX model: {_first_line(error)}") from error
    light, arrays = without_weights(inline_functions(model), arrays)
    return fold_constants(_converted(light), arrays)


def _with_arrays_as_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model taking its external data as inputs; the checker would look for their files."""
    import onnx
    from onnx import helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph, inputs = copy.graph, {value.name for value in model.graph.input}
    for i in reversed(range(len(graph.initializer))):
        tensor = graph.initializer[i]
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            if tensor.name not in inputs:
                graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
            del graph.initializer[i]
    return copy


def _parse(source: str | Path | bytes) -> tuple[onnx.ModelProto, dict[str, Array]]:
    from onnx import checker

    if isinstance(source, bytes):
        return read_model(io.BytesIO(source))
    path = Path(source)
    if not path.is_file():
        raise NotFound(f"there is no file {str(path)!r}")
    try:
        with path.open("rb") as file:
            return read_model(file, folder=path.parent)
    except InvalidNetwork as error:
        raise error.in_file(path.name) from error
    except (checker.ValidationError, OSError) as error:
        raise InvalidNetwork(f"cannot be read: {_first_line(error)}", file=str(source)[:200]) from error


def _converted(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnx import version_converter

    versions = {entry.domain: entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")}
    version = next(iter(versions.values()), None)
    if version is None:
        raise InvalidNetwork("imports no version of the default operator domain")
    if version == OPSET:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except (RuntimeError, ValueError) as error:
        problem = f"cannot be converted from opset {version} to {OPSET}: {_first_line(error)}"
        raise InvalidNetwork(problem) from error


def _with_safe_input(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with an input whose name a contract can hold; names inside the graph are made safe later."""
    for value in model.graph.input:
        if UNSAFE.search(value.name) or not 0 < len(value.name) <= MAX_NAME:
            taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
            old, value.name = value.name, fresh_name("input", taken)
            for node in model.graph.node:
                node.input[:] = [value.name if name == old else name for name in node.input]
    return model


def _input_port(model: onnx.ModelProto) -> InputPort:
    arrays = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in arrays]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        names = f"{[value.name for value in inputs]} -> {[value.name for value in model.graph.output]}"
        raise InvalidNetwork(f"expected one input and one output, got {names}")
    return port_of(inputs[0])


def port_of(value: onnx.ValueInfoProto) -> InputPort:
    """Return the input contract that a graph input suggests by its type and shape.

    Raises:
        InvalidNetwork: no contract fits, or a dimension other than the batch is unknown.
    """
    from onnx import TensorProto

    tensor = value.type.tensor_type
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    if not sizes or None in sizes[1:]:
        raise InvalidNetwork(f"input {value.name!r} has shape {sizes}: every dimension but the batch must be a number")
    shape: tuple[int | str, ...] = (BATCH, *(int(size) for size in sizes[1:] if size is not None))
    if tensor.elem_type == TensorProto.INT64 and len(shape) == 2:
        return InputPort(name=value.name, kind="tokens", dtype="int64", shape=shape)
    if tensor.elem_type != TensorProto.FLOAT:
        kind = TensorProto.DataType.Name(tensor.elem_type).lower()
        raise InvalidNetwork(
            f"input {value.name!r} holds {kind}: expected float32, or int64 for tokens [batch, length]"
        )
    return _float_port(value.name, shape)


def _float_port(name: str, shape: tuple[int | str, ...]) -> InputPort:
    if len(shape) == 2:
        return InputPort(name=name, kind="features", dtype="float32", shape=shape)
    if len(shape) == 3:
        return InputPort(name=name, kind="audio", dtype="float32", shape=shape)
    if len(shape) == 4:
        layout = "NHWC" if shape[3] in (1, 3) and shape[1] not in (1, 3) else "NCHW"
        channels = shape[3] if layout == "NHWC" else shape[1]
        color = {1: "gray", 3: "RGB"}.get(int(channels))
        return InputPort(
            name=name, kind="image", dtype="float32", layout=layout, shape=shape, range=(0.0, 1.0), color=color
        )
    raise InvalidNetwork(f"input {name!r} has {len(shape)} dimensions: expected 2 (features), 3 (audio) or 4 (images)")


def _with_contract(network: Network) -> Network:
    shape = infer_shapes(network)[network.output]
    if len(shape) != 2 or shape[0] != BATCH or not isinstance(shape[1], int) or shape[1] < 2:
        raise InvalidNetwork(
            f"its output {network.output!r} has shape {list(shape)}: a classifier's is [batch, classes]"
        )
    return _canonical_names(network.replace(output_shape=shape, input=_with_vocabulary(network)))


def _with_vocabulary(network: Network) -> InputPort:
    """Return the input's contract with the number of tokens that the embedding knows."""
    tables = [
        network.arrays[node.inputs[0]].shape[node.integer("axis", 0)]
        for node in network.nodes
        if node.op == "Gather" and node.inputs[1] == network.input.name and node.inputs[0] in network.arrays
    ]
    is_tokens = network.input.kind == "tokens" and bool(tables)
    return dataclasses.replace(network.input, vocabulary=min(tables)) if is_tokens else network.input


def _canonical_names(network: Network) -> Network:
    wanted = {network.input.name: NAMES[network.input.kind], network.output: "logits"}
    return rename(network, wanted)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
