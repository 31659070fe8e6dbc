"""`modhub decompose`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from modhub.cli.choices import (
    DEFAULTS,
    PAPER_LOSS,
    class_names,
    open_parent,
    options_of,
    ordered,
    release_of,
    seconds,
)
from modhub.cli.options import PATH, check_free, json_option, output_option
from modhub.cli.output import byte_size, percent, print_json, print_table, print_text, say
from modhub.cli.progress import working
from modhub.cli.replay import commands_of
from modhub.cli.telling import Teller
from modhub.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from modhub.package.package import Package
    from modhub.report.document import Report

RECIPE_HELP = f"Ours, or the paper's (where --max-loss is {PAPER_LOSS:g})."
PARTIAL = ".partial"
"""How the folder of unfinished work is called, after the output's name."""


@click.command(
    options_metavar="--data DATA -o DIR [OPTIONS]",
    epilog="""\b
Example: modhub decompose sample:cifar10-resnet20 -o split \\
             --data sample:cifar10-train --max-loss 1 --flip""",
)
@click.argument("model")
@click.option("--data", metavar="DATA", required=True, help="Folder of class folders, .npz, .safetensors ...")
@output_option("Collection folder to write; must not exist.")
@click.option("--validation", metavar="DATA", help="Held-out labelled data; default: a fifth of DATA.")
@click.option("--method", default="gradsplitter", show_default=True, help="The system that splits.")
@click.option("--recipe", type=click.Choice(["fast", "paper"]), default=DEFAULTS.recipe, help=RECIPE_HELP)
@click.option(
    "--max-loss",
    type=click.FloatRange(0, 100),
    metavar="POINTS",
    help=f"Accuracy to lose at most; default: {DEFAULTS.max_loss}.",
)
@click.option(
    "--keep",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SHARE",
    default=DEFAULTS.keep,
    help=f"Fewest kernels to try; default: {DEFAULTS.keep}.",
)
@click.option("--cut", metavar="VALUE", default=DEFAULTS.cut, help="End of the trunk, cheap or none; default: auto.")
@click.option("--classes", metavar="A,B", help="Classes to make modules for; default: all.")
@click.option("--class-names", metavar="FILE", type=PATH, help="Text, a class a line, in the logits' order.")
@click.option(
    "--form",
    "forms",
    multiple=True,
    metavar="FORM",
    type=click.Choice(["delta", "standalone", "values", "int8"]),
    default=(),
    help="delta (the default), standalone, values, int8 (beside another); repeatable.",
)
@click.option("--version", metavar="X.Y.Z", default="1.0.0", help="Version of the packages; default: 1.0.0.")
@click.option("--license", metavar="SPDX", default="LicenseRef-Unknown", help="Licence of the weights.")
@click.option("--name", help="What to call the parent; default: the file's name.")
@click.option("--weights", metavar="FILE", type=PATH, help="Safetensors file for a factory's module.")
@click.option("--input-shape", metavar="3,32,32", help="Shape of one input of a factory's module.")
@click.option("--mean", metavar="A,B,C", help="Of images that the network takes normalised, per channel.")
@click.option("--std", metavar="A,B,C", help="Likewise; the packages normalise by themselves.")
@click.option(
    "--align",
    type=click.IntRange(1),
    metavar="N",
    default=DEFAULTS.align,
    help=f"Keep multiples of N channels per layer; default: {DEFAULTS.align}.",
)
@click.option("--tied", is_flag=True, help="Keep the same channels all along a residual stream: runs faster.")
@click.option("--steps", type=click.IntRange(1), metavar="N", help="Training steps per level of retention.")
@click.option("--flip", is_flag=True, help="Also learn from mirror images.")
@click.option(
    "--sharing",
    type=click.FloatRange(0),
    metavar="WEIGHT",
    default=DEFAULTS.sharing,
    help="Draw weight masks together.",
)
@click.option("--budget", metavar="10m", help="Stop training after this long.")
@click.option("--resume", is_flag=True, help="Go on with the unfinished work in DIR.partial.")
@click.option("--seed", type=click.IntRange(0), metavar="N", default=DEFAULTS.seed, help="Seed of every random choice.")
@click.option("--device", default=DEFAULTS.device, show_default=True, help="Where torch computes.")
@json_option
def command(model: str, *, data: str, output: Path, as_json: bool, **choices: Any) -> None:
    """Split MODEL, a trained classifier, into one module per class.

    MODEL is an .onnx file, or package.module:factory, which runs your own code. Writes a collection folder: a base,
    a package per class, and reports.
    """
    from modhub import flow, fsops
    from modhub.datasets import load_dataset
    from modhub.package.int8 import INT8
    from modhub.report.document import report_on
    from modhub.report.files import report_json, write_page

    check_free(output)
    partial = unfinished_work(output, resume=choices["resume"])
    budget, release = seconds(choices["budget"]), release_of(choices, model)
    with working("reading the data") as line:
        parent = open_parent(model, choices)
        train = load_dataset(data)
        held_out = load_dataset(choices["validation"]) if choices["validation"] else None
        labels = class_names(
            choices["class_names"], train.classes or (held_out.classes if held_out is not None else None), parent
        )
        line.begin("splitting")
        decomposition = flow.decompose(
            parent,
            ordered(train, labels),
            method=choices["method"],
            validation=ordered(held_out, labels) if held_out is not None else None,
            options=dataclasses.replace(options_of(choices, labels), budget=budget),
            progress=Teller(line),
            partial=partial,
            resume=choices["resume"],
        )
        line.begin("packing")
        # The validation data: what the scores in eight bits are calibrated on, and what the pictures show.
        seen = ordered(train, labels).split(seed=choices["seed"])[1] if held_out is None else ordered(held_out, labels)
        rounding = {"samples": ordered(train, labels), "validation": seen} if INT8 in release.forms else {}
        packages = flow.pack(decomposition, dataclasses.replace(release, labels=labels), **rounding)
        report = report_on(decomposition, packages, commands=commands_of(output, data=choices["validation"] or data))
        flow.write_collection(
            packages,
            output,
            summary=f"{release.parent_name} split into {len(packages) - 1} class modules by {choices['method']}",
            extra=report_json(report),
        )
        fsops.remove(partial)
        # The modules are safe by now, whatever becomes of the pictures.
        line.begin("drawing the report")
        missing = write_page(report, output, data=seen)
    if missing:
        say(f"   left out: {missing}")
    if as_json:
        print_json(report.to_dict())
    else:
        print_report(report, output)


def unfinished_work(output: Path, *, resume: bool) -> Path:
    """Return the folder beside the output where unfinished work is kept.

    Raises:
        UsageError: there is some, and it is not to be resumed.
    """
    place = output.absolute()
    partial = place.with_name(f"{place.name}{PARTIAL}")
    if partial.exists() and not resume:
        raise UsageError(f"{partial} holds the unfinished work of an earlier run: add --resume, or delete it")
    return partial


def print_report(report: Report, output: Path) -> None:
    """Print a table of the modules, how they compose, and what was never cut."""
    packages = report.packages
    titles = {
        "precision": "precision",
        "recall": "recall",
        "F1": "f1",
        "ECE": "calibration_error",
        "kernels": "kernels_kept",
        "weights": "weights_kept",
        "MACs": "macs",
    }
    rows = []
    for package in packages[1:]:
        metrics = package.manifest.metrics
        shares = {title: percent(metrics[key].value if key in metrics else None) for title, key in titles.items()}
        rows.append({"module": package.name, **shares, "size": byte_size(package.size)})
    print_table(rows, title="measured on validation data; kernels, weights and MACs against the parent's")
    composed, parent = report.composed_accuracy, packages[0].manifest.metrics.get("accuracy")
    if composed is not None and parent is not None:
        told = f"{percent(composed.value)} on validation data, the parent's {percent(parent.value)}"
        click.echo(f"composed accuracy {told}")
    if told := told_of_int8(packages[1:]):
        print_text(told)
    print_text(report.pinned_sentence)
    size = byte_size(sum(package.size for package in packages))
    click.echo(f"wrote {len(packages)} packages, {size}, to {output}")
    say(f"next: modhub publish {output} --to ./registry")


def told_of_int8(packages: Sequence[Package]) -> str:
    """Return in a sentence what modules in eight bits are worth, nothing where there are none."""
    from modhub.package.int8 import INT8

    rounded = [package for package in packages if INT8 in package.manifest.forms]
    if not rounded:
        return ""
    means = {
        name: percent(sum(package.manifest.metrics[name].value for package in rounded) / len(rounded))
        for name in ("f1", "int8_f1", "int8_calibration_error")
    }
    size = byte_size(sum(file.size for package in rounded for file in package.manifest.forms[INT8]))
    was = f"mean F1 {means['int8_f1']} (in floats {means['f1']}), ECE {means['int8_calibration_error']}"
    return f"in eight bits: {was}, {size} for all"
