"""`modhub evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from modhub.cli.options import json_option
from modhub.cli.output import byte_size, percent, print_json, print_table

if TYPE_CHECKING:
    from modhub.engines.evaluation import Evaluation


@click.command(epilog="\b\nExample: modhub evaluate pets --data sample:cifar10-test")
@click.argument("target")
@click.option("--data", required=True, help="Labelled data: folder of class folders, .npz, .safetensors, .csv ...")
@click.option("--limit", type=click.IntRange(1), help="Use at most this many samples, evenly from each class.")
@json_option
def command(target: str, *, data: str, limit: int | None, as_json: bool) -> None:
    """Measure TARGET on data: precision, recall, F1, calibration, size, latency.

    TARGET is an .onnx file or the folder of a module, base or composite. What scores several classes is judged by its
    highest score, on the samples of those classes; a single module as a detector, on all samples.
    """
    from modhub import flow
    from modhub.datasets import load_dataset

    result = flow.evaluate(flow.load(target), load_dataset(data, limit=limit))
    if as_json:
        print_json(result.to_dict())
    else:
        print_evaluation(result)


def print_evaluation(result: Evaluation) -> None:
    """Print an evaluation as a table of the classes and a line per property."""
    names = {"precision": "precision", "recall": "recall", "F1": "f1"}
    print_table(
        [
            {"class": label, **{title: percent(found[key].value) for title, key in names.items()}}
            for label, found in result.classes.items()
        ]
    )
    if result.accuracy is not None:
        low, high = percent(result.accuracy.low), percent(result.accuracy.high)
        right = percent(result.accuracy.value)
        click.echo(f"accuracy     {right} (95 % interval {low} to {high}) on {result.samples} samples")
    if result.calibration_error is not None:
        click.echo(f"calibration  expected error {percent(result.calibration_error)}")
    click.echo(f"cost         {result.parameters:,} parameters, {result.macs:,} MACs, {byte_size(result.bytes)}")
    latency = ", ".join(f"{value:.2f} ms for {batch}" for batch, value in result.latency.items())
    click.echo(f"latency      {latency} on one thread")
