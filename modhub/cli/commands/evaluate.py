"""`modhub evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modhub.cli.options import PATH, json_option
from modhub.cli.output import byte_size, percent, print_json, print_table, say
from modhub.cli.progress import working
from modhub.cli.replay import command_line
from modhub.errors import UsageError

if TYPE_CHECKING:
    from modhub.datasets import Dataset
    from modhub.engines.evaluation import Evaluation


@click.command(epilog="\b\nExample: modhub evaluate pets --data sample:cifar10-test")
@click.argument("target")
@click.option("--data", required=True, help="Labelled data: folder of class folders, .npz, .safetensors, .csv ...")
@click.option("--limit", type=click.IntRange(1), help="Use at most this many samples, evenly from each class.")
@click.option("--report", type=PATH, metavar="F.html", help="Also write a page with figures; must not exist.")
@json_option
def command(target: str, *, data: str, limit: int | None, report: Path | None, as_json: bool) -> None:
    """Measure TARGET on data: precision, recall, F1, calibration, size, latency.

    TARGET is an .onnx file or the folder of a module, base or composite. What scores several classes is judged by its
    highest score, on the samples of those classes; a single module as a detector, on all samples.
    """
    from modhub import flow
    from modhub.datasets import load_dataset

    if report is not None:
        check_page(report)
    with working("reading the data") as line:
        samples = load_dataset(data, limit=limit)
        model = flow.load(target)
        line.begin("evaluating")
        result = flow.evaluate(model, samples)
        if report is not None:
            package = model.package
            name = Path(target).name if package is None else f"{package.name} {package.version}"
            line.begin("drawing the report")
            write_page(report, result, target=target, name=name, data=samples)
    if as_json:
        print_json(result.to_dict())
    else:
        print_evaluation(result)


def check_page(report: Path) -> None:
    """Check that a page can be written before the work for it begins.

    Raises:
        UsageError: it is not called .html, or something of that name is there, or its folder is not.
        MissingExtra: what draws is not installed.
    """
    from modhub.report.pictures import need_plot

    need_plot("a page with figures")
    if report.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--report: a page's name ends with .html, got {report}")
    if report.exists() or report.is_symlink():
        raise UsageError(f"--report: {report} is there already: choose another name, or delete it first")
    if not report.absolute().parent.is_dir():
        raise UsageError(f"--report: there is no folder {report.absolute().parent}")


def write_page(report: Path, result: Evaluation, *, target: str, name: str, data: Dataset) -> None:
    """Write an evaluation as a page."""
    from modhub import fsops
    from modhub.report.pages import evaluation_page
    from modhub.report.subject import read_subject

    page = evaluation_page(
        name,
        result,
        data=data,
        source=data.name,
        # What is no package has no masks, and no columns that were computed apart.
        subject=read_subject(target) if Path(target).is_dir() else None,
        commands=[command_line()],
    )
    fsops.write_new(report.absolute(), page.encode())
    say(f"wrote {report}")


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
