"""A `torch.nn.Module` as an ONNX model."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import TYPE_CHECKING

import torch

from modhub.engines.foreign import first_line
from modhub.errors import InvalidData, InvalidNetwork, MissingExtra, ModhubError
from modhub.network.network import BATCH, OPSET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modhub.spec.ports import InputPort

OUTPUT = "logits"


def from_torch(module: torch.nn.Module, example: torch.Tensor, *, input: InputPort | None = None) -> bytes:
    """Return a classifier written in torch as an ONNX model, with a batch of any size.

    It is exported as it answers, not as it trains, and left in the mode it was in.

    Args:
        module: takes one tensor and returns one, ``[batch, classes]``.
        example: a batch of inputs; its values do not matter.
        input: the contract of the input, to check the example against and take the name from.

    Raises:
        InvalidData: the example is no batch, or does not fit the contract.
        InvalidNetwork: torch cannot export it; what it computes depends on the values or the number of rows of a batch.
        MissingExtra: torch's exporter needs a package that is not installed.
    """
    batch = _checked(example, input)
    with _as_it_answers(module):
        try:
            return _export(module, batch, name="input" if input is None else input.name)
        except ModhubError:
            raise
        except ImportError as error:
            raise MissingExtra(
                error.name or "onnxscript", extra="torch", purpose="exporting a torch.nn.Module"
            ) from error
        except Exception as error:  # The exporter runs the code and wraps whatever that raises.
            raise InvalidNetwork(f"torch cannot export it: {_root_problem(error)}") from error


def _checked(example: torch.Tensor, port: InputPort | None) -> torch.Tensor:
    """Return the example with at least two rows: the exporter would take a single one as the batch size for ever."""
    if not example.ndim or not len(example):
        raise InvalidData(f"the example has shape {list(example.shape)}, expected a batch of at least one input")
    dtype = str(example.dtype).removeprefix("torch.")
    if port is not None and (dtype != port.dtype or tuple(example.shape[1:]) != tuple(port.shape[1:])):
        expected = f"{port.dtype} of shape {list(port.shape)}"
        raise InvalidData(f"the example is {dtype} of shape {list(example.shape)}, expected {expected}")
    return (example if len(example) > 1 else torch.cat([example, example])).contiguous()


@contextlib.contextmanager
def _as_it_answers(module: torch.nn.Module) -> Iterator[None]:
    modes = {part: part.training for part in module.modules()}
    # The exporter writes the order of axes in memory into the graph, for the size of the example's batch alone.
    reordered = [tensor for tensor in (*module.parameters(), *module.buffers()) if not tensor.is_contiguous()]
    orders = [tensor.data for tensor in reordered]
    module.eval()
    try:
        for tensor in reordered:
            tensor.data = tensor.data.contiguous()
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
        for tensor, data in zip(reordered, orders, strict=True):
            tensor.data = data


def _export(module: torch.nn.Module, batch: torch.Tensor, *, name: str) -> bytes:
    with quietly(), torch.no_grad():
        program = torch.onnx.export(
            module,
            (batch,),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            dynamic_shapes=({0: torch.export.Dim(BATCH)},),
            input_names=[name],
            output_names=[OUTPUT],
            verbose=False,
        )
    if program is None:
        raise InvalidNetwork("torch exported nothing")
    model = program.model_proto
    rows = model.graph.input[0].type.tensor_type.shape.dim[0]
    if rows.HasField("dim_value"):
        raise InvalidNetwork(f"it fixes the batch at {rows.dim_value} rows: their number is used as a constant")
    exported: bytes = model.SerializeToString()
    return exported


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep the exporter's warnings, logs and dumps of code away; what matters is in the error it raises."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    sink = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _root_problem(error: BaseException) -> str:
    """Return what started a chain of errors; the outer ones are advice about the exporter."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)
