"""`modhub evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from modhub.cli.options import json_option
from modhub.cli.output import byte_size, percent, print_json, print_table

if TYPE_CHECKING:
    from modhub.engines.evaluation import Evaluation


@click.command(epilog="Example: modhub evaluate pets --data cifar10-test.npz")
@click.argument("target")
@click.option("--data", required=True, help="Labelled data: folder of class folders, .npz, .safetensors, .csv ...")
@click.option("--limit", type=click.IntRange(1), help="Use at most this many samples.")
@json_option
def command(target: str, *, data: str, limit: int | None, as_json: bool) -> None:
    """Measure TARGET on data: accuracy, precision, recall, F1, calibration, size, multiply-accumulates, latency.

    TARGET is an .onnx file or the folder of a module, base or composite. A composite is judged on the samples of its
    own classes, a single module as a detector on all samples.
    """
    from modhub import flow
    from modhub.datasets import load_dataset

    result = flow.evaluate(flow.open_target(target), load_dataset(data, limit=limit))
    if as_json:
        print_json(result.to_dict())
    else:
        print_evaluation(result)


def print_evaluation(result: Evaluation) -> None:
    """Print an evaluation as tables."""
    print_table(
        [
            {
                "class": name,
                "precision": percent(found["precision"].value),
                "recall": percent(found["recall"].value),
                "F1": percent(found["f1"].value),
            }
            for name, found in result.classes.items()
        ]
    )
    if result.accuracy is not None:
        low, high = percent(result.accuracy.low), percent(result.accuracy.high)
        click.echo(f"accuracy     {percent(result.accuracy.value)} (95 % interval {low} to {high}) on {result.samples} samples")
    if result.calibration_error is not None:
        click.echo(f"calibration  error {result.calibration_error:.3f}")
    latency = ", ".join(f"{value:.2f} ms for {batch}" for batch, value in result.latency.items())
    click.echo(f"cost         {result.parameters:,} parameters, {result.macs:,} MACs, {byte_size(result.bytes)}")
    click.echo(f"latency      {latency} on one thread")
