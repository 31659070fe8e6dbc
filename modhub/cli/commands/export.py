"""`modhub export`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from modhub.cli.options import PATH, check_free, json_option, output_option
from modhub.cli.output import byte_size, print_json
from modhub.cli.progress import waiting

if TYPE_CHECKING:
    from pathlib import Path


@click.command(epilog="\b\nExample: modhub export pets --to onnx -o pets.onnx")
@click.argument("target", type=PATH)
@click.option(
    "--to", "form", type=click.Choice(["onnx", "standalone", "oci"]), required=True, help="The form to write."
)
@output_option("What to write: a file, or for standalone a folder; must not exist.")
@json_option
def command(target: Path, *, form: str, output: Path, as_json: bool) -> None:
    """Write the base, module or composite in TARGET in a form that other tools take.

    onnx: one file with the weights inside, for any runtime of ONNX. standalone: a package that needs no base. oci: an
    image layout in a tar file, which container registries take (`oras cp --from-oci-layout`).
    """
    from modhub import flow, fsops

    check_free(output)
    with waiting("exporting"):
        files = flow.export(flow.load(target), to=form)
    if form == "standalone":
        fsops.write_folder(output, files)
    else:
        (data,) = files.values()
        fsops.replace_file(output.absolute(), data)
    size = sum(len(data) for data in files.values())
    if as_json:
        print_json({"form": form, "output": str(output), "bytes": size})
    else:
        click.echo(f"wrote {output}, {byte_size(size)}")
