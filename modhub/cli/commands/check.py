"""`modhub check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from modhub.cli.options import PATH, json_option
from modhub.cli.output import byte_size, print_json, print_table
from modhub.cli.progress import waiting

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.errors import InvalidPackage


@click.command(epilog="\b\nExample: modhub check out")
@click.argument("folder", type=PATH)
@click.option(
    "--engine",
    type=click.Choice(["onnxruntime", "torch"]),
    default="onnxruntime",
    show_default=True,
    help="What runs the golden pairs of composites again.",
)
@json_option
def command(folder: Path, *, engine: str, as_json: bool) -> int:
    """Validate the package or collection in FOLDER; all problems are reported at once.

    Exit code 0 when it is valid, 1 when it is not, 3 when there is nothing there.
    """
    from modhub import flow
    from modhub.errors import InvalidPackage

    try:
        with waiting("checking"):
            packages = flow.check(folder, engine=engine)
    except InvalidPackage as error:
        if not as_json:
            raise
        print_json({"valid": False, "problems": problems_of(error)})
        return 1
    if as_json:
        names = [{"name": package.name, "version": package.version, "bytes": package.size} for package in packages]
        print_json({"valid": True, "problems": [], "packages": names})
    else:
        rows = [
            {
                "package": package.name,
                "version": package.version,
                "kind": package.manifest.kind,
                "forms": ", ".join(package.manifest.forms),
                "size": byte_size(package.size),
            }
            for package in packages
        ]
        print_table(rows)
        click.echo(f"valid: {len(packages)} package{'s' if len(packages) != 1 else ''}, every file hashed")
    return 0


def problems_of(error: InvalidPackage) -> list[dict[str, str]]:
    """Return the problems as plain values."""
    return [{"file": p.file, "where": p.where, "problem": p.problem} for p in error.problems]
