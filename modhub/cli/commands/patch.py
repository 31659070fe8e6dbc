"""`modhub patch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modhub.cli.choices import open_parent, read_names
from modhub.cli.options import PATH, check_free, fetching_options, json_option, output_option
from modhub.cli.output import byte_size, percent, print_json, print_table, say
from modhub.cli.progress import working
from modhub.errors import FormatError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from modhub.cli.options import Places
    from modhub.composer.part import Part
    from modhub.composer.patch import Options, Patched
    from modhub.engines.model import Model

ROWS = {
    "precision": "precision of the class",
    "recall": "recall of the class",
    "f1": "F1 of the class",
    "others": "accuracy on the other classes",
    "accuracy": "accuracy",
}


def known_glue(_context: click.Context, _option: click.Parameter, kind: str) -> str:
    """Return the glue that was asked for.

    Raises:
        UsageError: neither modhub nor a plugin has it.
    """
    from modhub.composer.glue import GLUES, glues

    # Only for other names is it looked up what is installed.
    if kind not in GLUES and kind not in glues():
        raise UsageError(f"--glue: there is no glue {kind!r}; the glues are {', '.join(glues())}")
    return kind


@click.command(
    options_metavar="--class NAME --with REQ -o DIR [OPTIONS]",
    epilog="""\b
Example: modhub patch weak.onnx --class-names names.txt --class cat \\
             --with class:cat --data pets/ -o patched""",
)
@click.argument("model")
@click.option("--class", "label", metavar="NAME", required=True, help="Class to take over.")
@click.option("--with", "requirement", metavar="REQ", required=True, help="Module: requirement or folder.")
@output_option("Folder to write; must not exist.")
@click.option(
    "--glue",
    metavar="KIND",
    default="linear",
    callback=known_glue,
    help="linear (default), minmax, none, or a plugin's.",
)
@click.option("--data", metavar="DATA", help="Labelled data new to both, to fit the glue.")
@click.option("--test", metavar="DATA", help="More labelled data, to measure on alone.")
@click.option(
    "--adapt",
    "adapters",
    multiple=True,
    metavar="KIND",
    type=click.Choice(["layout", "range", "channels", "resize"]),
    help="layout, range, channels, resize; repeatable.",
)
@click.option("--class-names", metavar="FILE", type=PATH, help="Text, a class a line, in the logits' order.")
@click.option("--name", default="patched", help="Package name; default: patched.")
@click.option("--version", metavar="X.Y.Z", default="1.0.0", help="Version of the result; default: 1.0.0.")
@click.option("--license", metavar="SPDX", default="LicenseRef-Unknown", help="Licence of MODEL's weights.")
@click.option("--weights", metavar="FILE", type=PATH, help="Safetensors file for a factory's module.")
@click.option("--input-shape", metavar="3,32,32", help="Shape of one input of a factory's module.")
@click.option("--mean", metavar="A,B,C", help="Of images that MODEL takes normalised.")
@click.option("--std", metavar="A,B,C", help="Likewise; the result normalises by itself.")
@click.option("--seed", type=click.IntRange(0), metavar="N", default=0, help="Seed of the split of DATA.")
@fetching_options
@json_option
def command(
    model: str, *, label: str, requirement: str, output: Path, places: Places, as_json: bool, **choices: Any
) -> None:
    """Let a module take over a class of MODEL, a weak classifier.

    Both networks stay as they are; a small glue between them is fitted on DATA, and chosen so that the class's recall
    does not fall on the part of DATA that was held out. The result is run, measured and composed like any composite.
    """
    from modhub import flow
    from modhub.datasets import load_dataset

    check_free(output)
    with working("reading the data") as line:
        data, test = (load_dataset(choices[name]) if choices[name] else None for name in ("data", "test"))
        weak = named(open_parent(model, choices), choices["class_names"], data.classes if data is not None else None)
        parts, lock = flow.gather([requirement], workspace=places.open())
        module, options = the_module(parts, label), options_of(label, choices)
        line.begin("fitting the glue")
        patched = flow.patch(weak, module, options, data=data, test=test, lock=lock)
        flow.write_package(patched.composite.package, output)
    if as_json:
        print_json(plain(patched))
    else:
        show(patched, label, output)


def named(weak: Model, file: Path | None, found: tuple[str, ...] | None) -> Model:
    """Return the model with names for its columns: from the file, its own, or those of the data.

    Raises:
        UsageError: there are more or fewer names than columns.
    """
    from modhub.engines.model import Model

    if file is not None:
        return Model.of(weak.network, columns=read_names(file))
    fits = found is not None and not weak.is_named and len(found) == len(weak.columns)
    return Model.of(weak.network, columns=found or ()) if fits else weak


def the_module(parts: Sequence[Part], label: str) -> Part:
    """Return the one module to patch with; of several, the one that scores the class.

    Raises:
        UsageError: it is not clear which.
    """
    if len(parts) == 1:
        return parts[0]
    fitting = [part for part in parts if label in [own.name for own in part.package.manifest.classes]]
    if len(fitting) != 1:
        names = ", ".join(part.label for part in parts)
        raise UsageError(f"--with: {len(fitting)} of these modules score {label!r}, expected one: {names}")
    return fitting[0]


def options_of(label: str, choices: Mapping[str, Any]) -> Options:
    """Return how to patch and what the result is called.

    Raises:
        UsageError: a name, version or licence is malformed.
    """
    from modhub.cli.choices import now
    from modhub.composer.patch import Options
    from modhub.spec.manifest import check_release

    called = {name: choices[name] for name in ("name", "version", "license")}
    try:
        check_release(kind="composite", **called)
    except FormatError as error:
        raise UsageError(f"--name, --version or --license: {error}") from error
    same = {name: choices[name] for name in ("glue", "adapters", "seed")}
    return Options(label=label, created=now(), **called, **same)


def plain(patched: Patched) -> dict[str, Any]:
    """Return what was done as plain values."""
    return {
        "glue": patched.glue.kind,
        "adapters": list(patched.adapters),
        "changes": {
            split: {side: dict(found) for side, found in own.items()} for split, own in patched.changes.items()
        },
        "bytes": patched.composite.package.size,
        "manifest": patched.composite.package.manifest.to_dict(),
    }


def show(patched: Patched, label: str, output: Path) -> None:
    """Print what changed."""
    for split, sides in patched.changes.items():
        rows = [
            {
                f"on {split} data": title,
                "before": percent(sides["before"][key]),
                "after": percent(sides["after"][key]),
                "change": f"{100 * (sides['after'][key] - sides['before'][key]):+.2f}",
            }
            for key, title in ROWS.items()
        ]
        print_table(rows)
    for step in patched.adapters:
        click.echo(f"the module is shown {step}")
    size = byte_size(patched.composite.package.size)
    click.echo(f"patched {label} by glue {patched.glue.kind} into {output}; {size}")
    say(f"next: modhub run {output} IMAGE...")
