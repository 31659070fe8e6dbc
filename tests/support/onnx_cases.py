"""The conformance cases that the `onnx` package ships: small models with inputs and expected outputs.

Older models are converted to opset 20; newer ones are taken as they are, because operators keep their meaning.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.backend.test
from onnx import helper, numpy_helper, version_converter
from onnx.backend.test.loader import load_model_tests

from modhub.network.network import OPSET, Network
from modhub.network.onnx_file import to_node
from modhub.spec.ports import InputPort

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from modhub.network.network import Array

    Pairs = Iterable[tuple[Sequence[object], Sequence[object]]]

MODELS = Path(onnx.backend.test.__file__).parent / "data"
FOLDERS = ("pytorch-converted", "pytorch-operator", "simple")
TYPES = {"bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"}
"""What NumPy and torch both have, and torch computes with."""

SEVERAL = "several"
"""The group of cases whose graphs hold more than one operator."""

EXCEPTIONS = {
    "test_*batchnorm_*_training_mode": "it trains: the engine computes what a network answers",
    "test_training_dropout*": "it trains: the engine computes what a network answers",
    "test_dropout_default_mask*": "it wants the mask of what dropout drops",
    "test_maxpool_with_argmax_*": "it wants the positions of the maxima",
    "test_reduce_max_empty_set*": "the maximum of nothing: torch has none",
    "test_reduce_min_empty_set": "the minimum of nothing: torch has none",
    "test_resize_*_antialias": "resizing that smooths first is refused",
    "test_resize_tf_crop_and_resize*": "resizing a region is refused",
    "test_resize_*_not_larger": "resizing that works out its own target size is refused",
    "test_resize_*_not_smaller": "resizing that works out its own target size is refused",
    "test_resize_downsample_scales_*_align_corners": "wants fractions as lengths; ONNX Runtime takes whole ones too",
    "test_spacetodepth_crd_mode_example": "the mode came with opset 28",
    "test_attention_4d_causal_fp16_expanded": "half precision, rounded at other places",
    "test_PReLU_*_multiparam": "before opset 7 a slope belonged to a channel, which the version converter overlooks",
}
"""Cases of supported operators that the engine need not pass, and why."""


@dataclass(frozen=True)
class Case:
    """A model, and what it must compute: pairs of inputs and outputs."""

    name: str
    model: onnx.ModelProto = field(repr=False)
    pairs: tuple[tuple[list[Array], list[Array]], ...] = field(repr=False)
    tolerance: float

    @property
    def operators(self) -> set[str]:
        """The operators that the model holds, constants aside."""
        return {node.op_type for node in self.model.graph.node if node.op_type != "Constant"} or {"Constant"}

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, in order."""
        arrays = {tensor.name for tensor in self.model.graph.initializer}
        return [value.name for value in self.model.graph.input if value.name not in arrays]

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in order."""
        return [value.name for value in self.model.graph.output]

    def network(self) -> Network:
        """Return the model as a network, with tensors in attributes made arrays.

        A network has one input and one output; further ones are reached by name.
        """
        model = self.model if self.model.opset_import[0].version >= OPSET else _converted(self.model)
        arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        nodes = []
        for node in model.graph.node:
            tensor = next((numpy_helper.to_array(a.t) for a in node.attribute if a.HasField("t")), None)
            if tensor is None:
                nodes.append(node)
            elif node.op_type == "Constant":
                arrays[node.output[0]] = tensor
            else:
                name = f"{node.output[0]} value"
                arrays[name] = tensor
                nodes.append(helper.make_node("Expand", [name, node.input[0]], node.output))
        return Network(
            nodes=tuple(to_node(node) for node in nodes),
            arrays=arrays,
            input=InputPort(name="none", kind="features", dtype="float32", shape=("batch", 1)),
            output=self.output_names[0],
            output_shape=(),
        )


def load_cases() -> list[Case]:
    """Return every case of the default operator domain whose values are of types that torch has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [*_node_cases(), *_folder_cases()]
    return [case for case in found if _types(case) <= TYPES and {o.domain for o in case.model.opset_import} == {""}]


def group_cases(cases: Iterable[Case], supported: Iterable[str]) -> dict[str, list[Case]]:
    """Return the cases of supported operators: by operator, and those of more than one under ``several``."""
    grouped: dict[str, list[Case]] = {}
    supported = set(supported)
    for case in cases:
        if case.operators <= supported:
            key = min(case.operators) if len(case.operators) == 1 else SEVERAL
            grouped.setdefault(key, []).append(case)
    return grouped


def reason(case: Case) -> str | None:
    """Return why the engine need not pass a case, or None where it must."""
    return next((why for pattern, why in EXCEPTIONS.items() if fnmatch(case.name, pattern)), None)


def _node_cases() -> Iterator[Case]:
    for case in load_model_tests(kind="node"):
        if case.model is not None and case.data_sets is not None:
            yield Case(case.name, case.model, _pairs(case.data_sets), case.rtol)


def _folder_cases() -> Iterator[Case]:
    for folder in (path for kind in FOLDERS for path in sorted((MODELS / kind).iterdir()) if path.is_dir()):
        sets = [(_tensors(data, "input"), _tensors(data, "output")) for data in sorted(folder.glob("test_data_set_*"))]
        yield Case(folder.name, onnx.load(folder / "model.onnx"), _pairs(sets), 1e-3)


def _tensors(folder: Path, kind: str) -> list[object]:
    count = len(list(folder.glob(f"{kind}_*.pb")))
    return [(folder / f"{kind}_{i}.pb").read_bytes() for i in range(count)]


def _pairs(sets: Pairs) -> tuple[tuple[list[Array], list[Array]], ...]:
    return tuple(([_array(value) for value in given], [_array(value) for value in wanted]) for given, wanted in sets)


def _array(value: object) -> Array:
    if isinstance(value, bytes):
        value = onnx.TensorProto.FromString(value)
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    # Sequences and optional values come out as arrays of objects, which no case with tensors holds.
    return np.asarray(value) if isinstance(value, (np.ndarray, np.generic)) else np.array(None)


def _types(case: Case) -> set[str]:
    return {array.dtype.name for pair in case.pairs for arrays in pair for array in arrays}


def _converted(model: onnx.ModelProto) -> onnx.ModelProto:
    return version_converter.convert_version(model, OPSET)
