"""`modhub plot`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modhub.cli.options import PATH, json_option
from modhub.cli.output import percent, print_json, print_table, say
from modhub.cli.progress import working
from modhub.errors import UsageError
from modhub.report.pictures import FORMATS, KINDS

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.report.subject import Subject


@click.command(epilog="\b\nExample: modhub plot sample:cifar10-resnet20 -o sites.svg")
@click.argument("target")
@click.option("--output", "-o", type=PATH, help="Picture to write: .png, .svg or .html. Default: print a table.")
@click.option(
    "--kind", "kinds", type=click.Choice(KINDS), multiple=True, help="What to draw; repeatable. Default: all there is."
)
@json_option
def command(target: str, *, output: Path | None, kinds: tuple[str, ...], as_json: bool) -> None:
    """Draw what modules keep, what they have in common, and accuracy against size.

    TARGET is a collection or module folder, for these three; a composite folder, for what its columns have in common;
    or an .onnx file or sample:NAME, for its sites: channels that are kept or cut together, and which are pinned and
    why. Without --output the numbers are printed as tables.
    """
    from modhub import fsops
    from modhub.report.pictures import kinds_of, need_plot, numbers, picture
    from modhub.report.subject import read_subject

    format = "" if output is None else format_of(output)
    if format:
        need_plot("a picture")
    with working("reading") as line:
        subject = read_subject(target)
        chosen = kinds_of(subject, kinds)
        if output is not None:
            line.begin("drawing")
            fsops.replace_file(output.absolute(), picture(subject, chosen, format=format))
    if output is not None:
        say(f"wrote {output}: {', '.join(chosen)}")
    if as_json:
        print_json(numbers(subject, chosen))
    elif output is None:
        print_numbers(subject, chosen)


def format_of(output: Path) -> str:
    """Return the format that a file's name ends with.

    Raises:
        UsageError: it is none that can be drawn, or the folder is not there.
    """
    format = output.suffix.lower().removeprefix(".")
    if format not in FORMATS:
        raise UsageError(f"{output}: a picture's name ends with .{', .'.join(FORMATS[:-1])} or .{FORMATS[-1]}")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"{output}: there is no folder {output.absolute().parent}")
    if output.is_dir():
        raise UsageError(f"{output} is a folder: give the picture a name of its own")
    return format


def print_numbers(subject: Subject, kinds: list[str]) -> None:
    """Print the numbers of pictures as tables."""
    if "sites" in kinds:
        print_table(site_table(subject), title=f"sites of {subject.name}")
    if "kept" in kinds and subject.kept is not None:
        print_table(kept_table(subject), title="what each module keeps of the sites that masks act on")
    if "overlap" in kinds and subject.overlap is not None:
        print_table(overlap_table(subject), title=f"in common, of {subject.overlap.of}")
    if "curve" in kinds and subject.curve is not None:
        chosen = subject.curve.chosen
        rows = [
            {"kept": percent(point.kept), "accuracy": percent(point.accuracy), "": "chosen" if i == chosen else ""}
            for i, point in enumerate(subject.curve.points)
        ]
        title = "composed accuracy against size"
        parent = subject.curve.parent
        print_table(rows, title=title if parent is None else f"{title}; the parent's is {percent(parent)}")


def site_table(subject: Subject) -> list[dict[str, Any]]:
    """Return a row per site: its short name and id, how wide it is, and whether and why it is pinned."""
    return [
        {
            "site": row.name,
            "id": row.id,
            "channels": row.channels,
            "kind": row.kind,
            "weights": row.weights,
            "pinned": row.pinned or "-",
        }
        for row in subject.sites.sites
    ]


def kept_table(subject: Subject) -> list[dict[str, Any]]:
    """Return a row per module and a column per site that tells modules apart."""
    kept = subject.sites
    rows = []
    for i, name in enumerate(kept.modules):
        shares = {kept.sites[j].name: percent(float(kept.shares[i, j])) for j in kept.open}
        rows.append({"module": name, "all kernels": percent(kept.kernels_kept[i]), **shares})
    return rows


def overlap_table(subject: Subject) -> list[dict[str, Any]]:
    """Return a row per module: with which it has most and least in common."""
    overlap = subject.overlap
    if overlap is None:
        return []
    rows = []
    for i, name in enumerate(overlap.modules):
        others = sorted((float(overlap.jaccard[i, j]), other) for j, other in enumerate(overlap.modules) if j != i)
        (low, far), (high, near) = others[0], others[-1]
        mean = percent(sum(value for value, _ in others) / len(others))
        row = {"module": name, "mean": mean, "most": percent(high), "with": near}
        rows.append({**row, "least": percent(low), "with ": far})
    return rows
