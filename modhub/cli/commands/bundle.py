"""`modhub bundle` and `modhub import`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modhub.cli.options import PATH, address_of, json_option, store_option, workspace_options
from modhub.cli.output import byte_size, print_json, say
from modhub.cli.progress import waiting

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from modhub.cli.options import Places
    from modhub.hub.mirror import Copy


@click.command(epilog="\b\nExample: modhub bundle modhub/resnet20-cifar10 -o modules.modhub")
@click.argument("collections", nargs=-1, required=True)
@click.option("--output", "-o", type=PATH, required=True, help="The file; an older one is replaced.")
@workspace_options
@json_option
def command(collections: tuple[str, ...], *, output: Path, places: Places, as_json: bool) -> None:
    """Write whole COLLECTIONS (owner/name) as one file, to carry where no network reaches.

    There, `modhub import` puts them into a registry, byte for byte; every command reads the file itself with -r, too.
    """
    from modhub import flow

    with waiting("bundling") as progress:
        size = flow.bundle(collections, output, workspace=places.open(), progress=progress)
    if as_json:
        print_json({"file": str(output), "bytes": size, "collections": list(dict.fromkeys(collections))})
    else:
        click.echo(f"wrote {output} ({byte_size(size)}): {', '.join(dict.fromkeys(collections))}")
    say(f"next: modhub import {output} --to REGISTRY")


@click.command(epilog="\b\nExample: modhub import modules.modhub --to ./registry")
@click.argument("file", type=PATH)
@click.option("--to", required=True, envvar="MODHUB_TO", help="The registry: a folder, an address or a name.")
@click.option("--collection", "collections", multiple=True, metavar="NAME", help="Only this one. Repeatable.")
@store_option
@json_option
def import_bundle(file: Path, *, to: str, collections: tuple[str, ...], store: Path | None, as_json: bool) -> None:
    """Put the collections of the bundle FILE into a registry, byte for byte.

    What is there already is left alone, so an import that was stopped is simply repeated. Nothing is unpacked by the
    names in the file, and every byte is hashed before it counts.
    """
    from modhub import flow
    from modhub.errors import NotFound

    if not file.is_file():
        raise NotFound(f"there is no bundle {file}")
    with waiting("importing") as progress:
        copies = flow.mirror(
            file.resolve().as_uri(), address_of(to), collections=collections, store=store, progress=progress
        )
    tell(copies, as_json=as_json)


def tell(copies: Sequence[Copy], *, as_json: bool) -> None:
    """Print what was copied."""
    if as_json:
        print_json([plain(copy) for copy in copies])
        return
    for copy in copies:
        count = f"{len(copy.copied)} release{'s' if len(copy.copied) != 1 else ''}"
        click.echo(f"{copy.collection}: {'the same already' if copy.already else f'{count}, {byte_size(copy.size)}'}")
    if not copies:
        say("there is no collection to copy")


def plain(copy: Copy) -> dict[str, Any]:
    """Return what was copied as plain values."""
    return {
        "collection": str(copy.collection),
        "revision": copy.revision,
        "copied": [f"{release.name}=={release.version}" for release in copy.copied],
        "bytes": copy.size,
        "already": copy.already,
    }
