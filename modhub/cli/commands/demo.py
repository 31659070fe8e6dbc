"""`modhub demo`."""

from __future__ import annotations

from pathlib import Path

import click

from modhub.cli.options import PATH, json_option
from modhub.cli.output import byte_size, percent, print_json, print_table, print_text, say
from modhub.cli.progress import working
from modhub.cli.telling import Teller


@click.command(epilog="\b\nExample: modhub demo -o my-demo")
@click.option("--output", "-o", type=PATH, default=Path("modhub-demo"), show_default=True, help="Where to keep it all.")
@json_option
def command(output: Path, *, as_json: bool) -> None:
    """Tell the whole story on a real network and real images, in about a minute.

    Splits a CIFAR-10 ResNet-20 into ten class modules, publishes them to a folder registry, installs cat, dog and
    truck, composes them into one model, runs it on test images, and draws a picture. A second run is fast.
    """
    from modhub.demo import tell_story

    with working("at work") as line:
        story = tell_story(output, say=say, progress=Teller(line))
    if as_json:
        print_json(story.to_dict())
        return
    print_table(
        [
            {
                "module": row["module"],
                "precision": percent(row.get("precision")),
                "recall": percent(row.get("recall")),
                "F1": percent(row.get("f1")),
                "kernels kept": percent(row.get("kernels_kept")),
                "bytes": byte_size(row["bytes"]),
            }
            for row in story.modules
        ],
        title=f"class modules, as detectors on {story.modules[0]['split']} data; kernels behind the shared trunk",
    )
    click.echo()
    print_table(
        [
            {
                "model": row.what,
                "accuracy": f"{percent(row.accuracy)} ({percent(row.low)} - {percent(row.high)})",
                "images": row.samples,
                "bytes": byte_size(row.bytes),
                "kernels kept": percent(row.kernels),
                "latency": f"{row.latency:.2f} x",
            }
            for row in story.rows
        ],
        title="on test images, with 95 % intervals; latency against the parent's, one thread",
    )
    print_text(f"\ndone in {story.seconds:.0f} s; look at {story.picture}")
