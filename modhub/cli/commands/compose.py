"""`modhub compose`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modhub.cli.options import check_free, json_option, output_option, workspace_options
from modhub.cli.output import byte_size, print_json, say

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.cli.options import Places
    from modhub.composer.compose import Composite


@click.command(epilog="\b\nExample: modhub compose modhub/resnet20-cifar10/cat class:dog -o pets")
@click.argument("requirements", nargs=-1, required=True)
@output_option("Folder to write; must not exist.")
@click.option(
    "--strategy",
    type=click.Choice(["auto", "trunk", "parallel"]),
    default="auto",
    show_default=True,
    help="How modules are joined.",
)
@click.option("--name", default="composite", show_default=True, help="Package name of the composite.")
@click.option("--version", default="1.0.0", show_default=True, help="Version of the composite.")
@workspace_options
@json_option
def command(
    requirements: tuple[str, ...],
    *,
    output: Path,
    strategy: str,
    name: str,
    version: str,
    places: Places,
    as_json: bool,
) -> None:
    """Join modules into one runnable model.

    REQUIREMENTS are what `modhub resolve` takes, folders of packages or collections, or one lock file. The model has
    one input and one output, `scores`, with a column per class in the order asked. It is checked against its modules
    run alone before anything is written.
    """
    from modhub import flow

    check_free(output)
    workspace = places.open()
    parts, lock = flow.gather(requirements, workspace=workspace)
    composite = flow.compose(parts, name=name, version=version, strategy=strategy, lock=lock)
    flow.write_package(composite.package, output)
    if as_json:
        print_json(plain(composite))
        return
    classes = ", ".join(label.name for label in composite.package.manifest.classes)
    click.echo(f"composed {len(parts)} module{'s' if len(parts) > 1 else ''} into {output}: scores of {classes}")
    click.echo(
        f"strategy {composite.strategy} ({composite.why}); {composite.shared_nodes} computations shared, "
        f"{100 * composite.cost:.0f} % of the work of the modules alone; {byte_size(composite.package.size)}"
    )
    say(f"next: modhub run {output} IMAGE...")


def plain(composite: Composite) -> dict[str, Any]:
    """Return what was composed as plain values."""
    return {
        "strategy": composite.strategy,
        "why": composite.why,
        "shared_nodes": composite.shared_nodes,
        "cost": composite.cost,
        "bytes": composite.package.size,
        "manifest": composite.package.manifest.to_dict(),
    }
