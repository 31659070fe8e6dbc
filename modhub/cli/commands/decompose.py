"""`modhub decompose`."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modhub.cli.options import PATH, check_free, json_option, output_option
from modhub.cli.output import byte_size, percent, print_json, print_table, say
from modhub.decomposers.options import Options
from modhub.errors import FormatError, InvalidVersion, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modhub.datasets import Dataset
    from modhub.engines.model import Model
    from modhub.network.modules import Decomposition
    from modhub.package.pack import Release
    from modhub.package.package import Package

DEFAULTS = Options()
DURATION = re.compile(r"(?P<number>[0-9]{1,9}(\.[0-9]{1,3})?)(?P<unit>[smh])")
SECONDS = {"s": 1, "m": 60, "h": 3600}
NAMES_LIMIT = 1 << 20
"""Bytes of a file of class names."""


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
@click.option("--recipe", type=click.Choice(["fast", "paper"]), default=DEFAULTS.recipe, help="Ours, or the paper's.")
@click.option(
    "--max-loss",
    type=click.FloatRange(0, 100),
    metavar="POINTS",
    default=DEFAULTS.max_loss,
    help=f"Accuracy to lose at most; default: {DEFAULTS.max_loss}.",
)
@click.option(
    "--keep",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SHARE",
    default=DEFAULTS.keep,
    help=f"Fewest kernels to try; default: {DEFAULTS.keep}.",
)
@click.option("--cut", metavar="VALUE", default=DEFAULTS.cut, help="Where the trunk ends, or none; default: auto.")
@click.option("--classes", metavar="A,B", help="Classes to make modules for; default: all.")
@click.option("--class-names", metavar="FILE", type=PATH, help="Text, a class a line, in the logits' order.")
@click.option(
    "--form",
    "forms",
    multiple=True,
    metavar="FORM",
    type=click.Choice(["delta", "standalone"]),
    default=("delta",),
    help="delta (the default), standalone; repeatable.",
)
@click.option("--version", metavar="X.Y.Z", default="1.0.0", help="Version of the packages; default: 1.0.0.")
@click.option("--license", metavar="SPDX", default="LicenseRef-Unknown", help="Licence of the weights.")
@click.option("--name", help="What to call the parent; default: the file's name.")
@click.option("--weights", metavar="FILE", type=PATH, help="Safetensors file for a factory's module.")
@click.option("--input-shape", metavar="3,32,32", help="Shape of one input of a factory's module.")
@click.option("--steps", type=click.IntRange(1), metavar="N", help="Training steps per level of retention.")
@click.option("--flip", is_flag=True, help="Also learn from mirror images.")
@click.option("--budget", metavar="10m", help="Stop training after this long.")
@click.option("--seed", type=click.IntRange(0), metavar="N", default=DEFAULTS.seed, help="Seed of every random choice.")
@click.option("--device", default=DEFAULTS.device, show_default=True, help="Where torch computes.")
@json_option
def command(model: str, *, data: str, output: Path, as_json: bool, **choices: Any) -> None:
    """Split MODEL, a trained classifier, into one module per class.

    MODEL is an .onnx file, or package.module:factory, which runs your own code. Writes a collection folder: a base,
    a package per class, report.json.
    """
    from modhub import flow
    from modhub.datasets import load_dataset

    check_free(output)
    budget, release = seconds(choices["budget"]), release_of(choices, model)
    parent = open_parent(model, choices)
    train = load_dataset(data)
    held_out = load_dataset(choices["validation"]) if choices["validation"] else None
    labels = class_names(
        choices["class_names"], train.classes or (held_out.classes if held_out is not None else None), parent
    )
    decomposition = flow.decompose(
        parent,
        ordered(train, labels),
        method=choices["method"],
        validation=ordered(held_out, labels) if held_out is not None else None,
        options=dataclasses.replace(options_of(choices, labels), budget=budget),
        progress=tell,
    )
    packages = flow.pack(decomposition, dataclasses.replace(release, labels=labels))
    report = report_of(decomposition, packages)
    flow.write_collection(
        packages,
        output,
        summary=f"{release.parent_name} split into {len(packages) - 1} class modules by {choices['method']}",
        extra={"report.json": (json.dumps(report, indent=2) + "\n").encode()},
    )
    if as_json:
        print_json(report)
    else:
        print_report(packages, output)


def release_of(choices: Mapping[str, Any], model: str) -> Release:
    """Return what is said about all packages, checked before any work is done.

    Raises:
        UsageError: the version or the licence is malformed.
    """
    from modhub.package.pack import Release
    from modhub.spec.manifest import check_license
    from modhub.spec.versions import parse_version

    try:
        parse_version(choices["version"])
        check_license(choices["license"])
    except FormatError as error:
        option = "--version" if isinstance(error, InvalidVersion) else "--license"
        raise UsageError(f"{option}: {error}") from error
    return Release(
        version=choices["version"],
        created=now(),
        license=choices["license"],
        parent_name=choices["name"] or parent_name(model),
        forms=tuple(dict.fromkeys(choices["forms"])),
    )


def parent_name(model: str) -> str:
    """Return what to call a parent: its file's name, or that of the sample or factory."""
    return Path(model).stem if Path(model).exists() else model.rpartition(":")[2]


def now() -> str:
    """Return the time in UTC to the second, RFC 3339."""
    from datetime import UTC, datetime

    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def open_parent(model: str, choices: Mapping[str, Any]) -> Model:
    """Return the classifier to split.

    Raises:
        UsageError: the shape of the input is no shape.
    """
    from modhub import flow

    sizes = [size.strip() for size in (choices["input_shape"] or "").split(",") if size.strip()]
    if not all(size.isdigit() for size in sizes):
        raise UsageError(f"--input-shape: expected sizes like 3,32,32, got {choices['input_shape']!r}")
    # A factory is found where `python -m` would find it; an installed command does not look there by itself.
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        return flow.load(model, weights=choices["weights"], input_shape=[int(size) for size in sizes])
    finally:
        sys.path.remove(here)


def class_names(file: Path | None, found: tuple[str, ...] | None, parent: Model) -> tuple[str, ...]:
    """Return the names of the logits: from the file, from the parent's package, from the data, or numbered ones.

    Raises:
        UsageError: there are more or fewer names than classes.
        NotFound: there is no such file.
    """
    names = found if found is not None and not parent.is_named else parent.columns
    if file is not None:
        names = read_names(file)
    if len(names) != len(parent.columns):
        problem = f"there are {len(names)} class names, and the network has {len(parent.columns)} classes"
        raise UsageError(f"{problem}: name them with --class-names")
    return names


def read_names(file: Path) -> tuple[str, ...]:
    """Return the lines of a text file that are not empty."""
    from modhub import fsops

    try:
        text = fsops.read_file(file.resolve(), limit=NAMES_LIMIT).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("is no UTF-8 text", file=str(file)) from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def ordered(data: Dataset, labels: Sequence[str]) -> Dataset:
    """Return data that numbers its classes as the network does.

    Raises:
        UsageError: the data lacks a class.
    """
    if data.classes is None:
        return dataclasses.replace(data, classes=tuple(labels))
    return data if data.classes == tuple(labels) or data.y is None else data.subset(labels)


def options_of(choices: Mapping[str, Any], labels: tuple[str, ...]) -> Options:
    """Return the decomposer's options.

    Raises:
        UsageError: a class is unknown.
    """
    wanted = [name.strip() for name in (choices["classes"] or "").split(",") if name.strip()]
    unknown = [name for name in wanted if name not in labels]
    if unknown:
        raise UsageError(f"there is no class {unknown[0]!r}; the classes are {', '.join(labels)}")
    same = ("recipe", "max_loss", "keep", "cut", "steps", "flip", "seed", "device")
    return Options(**{name: choices[name] for name in same}, classes=tuple(dict.fromkeys(map(labels.index, wanted))))


def seconds(text: str | None) -> float | None:
    """Return a duration such as ``90s``, ``10m`` or ``2h`` in seconds.

    Raises:
        UsageError: the text is no duration.
    """
    if text is None:
        return None
    found = DURATION.fullmatch(text)
    if not found or not float(found["number"]):
        raise UsageError(f"--budget: expected a duration like 90s, 10m or 2h, got {text!r}")
    return float(found["number"]) * SECONDS[found["unit"]]


def tell(event: Mapping[str, Any]) -> None:
    """Tell about a step of the work."""
    step = event["step"]
    if step == "trunk":
        place = f"the trunk ends at {event['cut']}" if event["cut"] else "there is no trunk"
        say(f"   {place}; masks act on {event['kernels']} kernels in {event['sites']} sites")
    elif {"kept", "accuracy"} <= event.keys():
        kept = f"keeps {percent(event['kept'])} of the kernels behind the trunk"
        say(f"   {step:<8} {kept}, composed accuracy {percent(event['accuracy'])} on validation data")
    elif step == "parent":
        say(f"   the parent's accuracy on validation data is {percent(event['accuracy'])}")
    else:
        say("   " + ", ".join(f"{key} {value}" for key, value in event.items()))


def report_of(decomposition: Decomposition, packages: Sequence[Package]) -> dict[str, Any]:
    """Return everything measured, as plain values."""
    return {
        "parent": packages[0].manifest.to_dict(),
        "cut": decomposition.cut,
        "history": [dict(step) for step in decomposition.history],
        "modules": [
            {
                "name": package.name,
                "version": package.version,
                "bytes": package.size,
                "metrics": {name: metric.to_dict() for name, metric in package.manifest.metrics.items()},
            }
            for package in packages[1:]
        ],
    }


def print_report(packages: Sequence[Package], output: Path) -> None:
    """Print a table of the modules."""
    titles = {
        "precision": "precision",
        "recall": "recall",
        "F1": "f1",
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
    size = byte_size(sum(package.size for package in packages))
    click.echo(f"wrote {len(packages)} packages, {size}, to {output}")
    say(f"next: modhub publish {output} --to ./registry")
