"""`modhub decompose`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modhub.cli.options import PATH, json_option
from modhub.cli.output import byte_size, percent, print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.decomposers.options import Options
    from modhub.package.package import Package


@click.command(
    epilog="Example: modhub decompose resnet20.onnx --data cifar10.npz --method gradsplitter -o out --max-loss 1"
)
@click.argument("model")
@click.option("--data", required=True, help="What to learn from: folder of class folders, .npz, .safetensors, .csv ...")
@click.option("--output", "-o", type=PATH, required=True, help="Collection folder to write; must not exist.")
@click.option("--method", default="gradsplitter", show_default=True, help="The system that splits.")
@click.option("--recipe", type=click.Choice(["fast", "paper"]), default="fast", show_default=True)
@click.option("--max-loss", type=float, default=0.5, show_default=True, help="Most points of accuracy to lose.")
@click.option("--keep", type=click.FloatRange(0, 1, min_open=True), default=0.4, show_default=True, help="Smallest share of kernels to try.")
@click.option("--cut", default="auto", show_default=True, help="Where the shared trunk ends: auto, none, or a value's name.")
@click.option("--classes", help="Comma-separated class names; default: all.")
@click.option("--class-names", type=PATH, help="Text file with one class name a line, in the order of the logits.")
@click.option("--validation", help="Held-out labelled data; default: a fifth of the data.")
@click.option("--form", "forms", multiple=True, type=click.Choice(["delta", "standalone"]), default=("delta",), show_default=True, help="How weights travel. Repeatable.")
@click.option("--version", default="1.0.0", show_default=True, help="Version of the packages.")
@click.option("--license", "licence", default="LicenseRef-Unknown", show_default=True, help="SPDX expression for the weights.")
@click.option("--name", default=None, help="What to call the parent; default: the file's name.")
@click.option("--weights", type=PATH, help="Safetensors file for a package.module:factory model.")
@click.option("--epochs", type=click.IntRange(1), default=None, help="Passes over the data; default: the recipe's.")
@click.option("--flip", is_flag=True, help="Also learn from mirror images.")
@click.option("--budget", type=str, default=None, help="Stop training after this long, such as 90s or 10m.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True, help="Where torch computes.")
@json_option
def command(model: str, data: str, output: Path, *, as_json: bool, **choices: Any) -> None:
    """Split MODEL, a trained classifier, into one module per class.

    MODEL is an .onnx file, or package.module:factory with --weights. Writes a collection folder: a base package, one
    package per class, and report.json.
    """
    from modhub import flow
    from modhub.datasets import load_dataset
    from modhub.package.pack import Release

    network = flow.load(model, weights=choices["weights"])
    train = load_dataset(data)
    held_out = load_dataset(choices["validation"]) if choices["validation"] else None
    labels = class_names(choices["class_names"], train.classes, count=int(network.output_shape[-1]))
    decomposition = flow.decompose(
        network,
        relabelled(train, labels),
        method=choices["method"],
        validation=held_out,
        options=options_of(choices, labels),
        progress=tell,
    )
    release = Release(
        version=choices["version"],
        created=now(),
        license=choices["licence"],
        parent_name=choices["name"] or Path(model.partition(":")[0]).stem,
        labels=labels,
        forms=choices["forms"],
    )
    packages = flow.pack(decomposition, release)
    report = report_of(decomposition.history, packages)
    summary = f"{release.parent_name} split into {len(packages) - 1} class modules by {choices['method']}"
    flow.write_collection(
        packages, output, summary=summary, extra={"report.json": (json.dumps(report, indent=2) + "\n").encode()}
    )
    if as_json:
        print_json(report)
    else:
        print_report(packages, output)


def now() -> str:
    """Return the time in UTC to the second, RFC 3339."""
    from datetime import datetime, timezone

    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def class_names(file: Path | None, found: tuple[str, ...] | None, *, count: int) -> tuple[str, ...]:
    """Return the class names from a file, from the data, or numbered ones.

    Raises:
        UsageError: there are more or fewer names than classes.
    """
    from modhub.errors import NotFound, UsageError

    names = found or tuple(f"class-{row}" for row in range(count))
    if file is not None:
        if not file.is_file():
            raise NotFound(f"there is no file {str(file)!r}")
        names = tuple(line.strip() for line in file.read_text("utf-8").splitlines() if line.strip())
    if len(names) != count:
        raise UsageError(f"there are {len(names)} class names, the network has {count} classes: see --class-names")
    return names


def relabelled(data: Any, labels: tuple[str, ...]) -> Any:
    """Return data that calls its classes by these names."""
    import dataclasses

    return dataclasses.replace(data, classes=labels)


def options_of(choices: Mapping[str, Any], labels: tuple[str, ...]) -> Options:
    """Return the decomposer's options.

    Raises:
        UsageError: a class is unknown, or the budget is no duration.
    """
    from modhub.decomposers.options import Options
    from modhub.errors import UsageError

    wanted = [name.strip() for name in (choices["classes"] or "").split(",") if name.strip()]
    unknown = [name for name in wanted if name not in labels]
    if unknown:
        raise UsageError(f"there is no class {unknown[0]!r}; the classes are {', '.join(labels)}")
    return Options(
        recipe=choices["recipe"],
        max_loss=choices["max_loss"],
        keep=choices["keep"],
        cut=choices["cut"],
        classes=tuple(labels.index(name) for name in wanted),
        epochs=choices["epochs"],
        flip=choices["flip"],
        seed=choices["seed"],
        device=choices["device"],
        budget=seconds(choices["budget"]),
    )


def seconds(text: str | None) -> float | None:
    """Return a duration such as ``90s``, ``10m`` or ``2h`` in seconds.

    Raises:
        UsageError: the text is no duration.
    """
    from modhub.errors import UsageError

    if text is None:
        return None
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = text[:-1], units.get(text[-1:])
    if unit is None or not number.replace(".", "", 1).isdigit() or not float(number):
        raise UsageError(f"expected a duration like 90s, 10m or 2h, got {text!r}")
    return float(number) * unit


def tell(event: Mapping[str, Any]) -> None:
    """Tell about a step of the work."""
    if event["step"] in ("rung", "settled"):
        say(
            f"   {event['step']:<8} keeps {percent(event['kept'])} of the kernels behind the trunk, "
            f"composed accuracy {percent(event['accuracy'])} on validation data"
        )
    elif event["step"] == "trunk":
        end = event["cut"] or "none"
        say(f"   trunk ends at {end}; masks act on {event['kernels']} kernels in {event['sites']} sites")
    else:
        say(", ".join(f"{key} {value}" for key, value in event.items()))


def report_of(history: tuple[Mapping[str, Any], ...], packages: tuple[Package, ...]) -> dict[str, Any]:
    """Return everything measured, as plain values."""
    return {
        "parent": packages[0].manifest.to_dict(),
        "history": [dict(step) for step in history],
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


def print_report(packages: tuple[Package, ...], output: Path) -> None:
    """Print a table of the modules."""
    rows = []
    for package in packages[1:]:
        metrics = package.manifest.metrics
        rows.append(
            {
                "module": package.name,
                "precision": percent(metrics["precision"].value),
                "recall": percent(metrics["recall"].value),
                "F1": percent(metrics["f1"].value),
                "kernels": percent(metrics["kernels_kept"].value),
                "weights": percent(metrics["weights_kept"].value),
                "MACs": percent(metrics["macs"].value),
                "size": byte_size(package.size),
            }
        )
    print_table(rows, title="measured on validation data; kernels, weights and MACs against the parent's")
    total = sum(package.size for package in packages)
    say(f"wrote {len(packages)} packages, {byte_size(total)}, to {output}; next: modhub publish {output} --to ./registry")
