"""`modhub publish`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modhub.cli.options import PATH, address_of, json_option, store_option
from modhub.cli.output import byte_size, print_json, say

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.hub.client import PublishResult


@click.command(epilog="\b\nExample: modhub publish out --to ./registry --name acme/resnet20-cifar10")
@click.argument("folder", type=PATH)
@click.option(
    "--to", required=True, envvar="MODHUB_TO", help="The registry: a folder, an address or a configured name."
)
@click.option("--name", help="The collection, owner/name; default: local/ and the folder's name.")
@click.option("--message", "-m", default="", help="What changed, for the registry's history.")
@click.option("--dry-run", is_flag=True, help="Check everything and say what would be published.")
@store_option
@json_option
def command(
    folder: Path, *, to: str, name: str | None, message: str, dry_run: bool, store: Path | None, as_json: bool
) -> None:
    """Publish the packages in FOLDER to a registry, in one atomic commit.

    Publishing the same bytes again is a success; other bytes under a published version are refused.
    """
    from modhub import flow

    packages, collection = flow.check(folder), name or f"local/{folder.resolve().name}"
    result = flow.publish(
        packages, to=address_of(to), collection=collection, message=message, dry_run=dry_run, store=store
    )
    if as_json:
        print_json(plain(result))
        return
    if result.already:
        click.echo(f"{collection}: all {len(result.unchanged)} releases are there already, with the same bytes")
    else:
        verb = "would publish" if dry_run else "published"
        names = ", ".join(f"{release.name} {release.version}" for release in result.published)
        count = len(result.published)
        click.echo(
            f"{verb} {count} release{'s' if count != 1 else ''} ({byte_size(result.size)}) to {collection}: {names}"
        )
    say(f"next: modhub install -r {to} {collection}/{packages[-1].name}")


def plain(result: PublishResult) -> dict[str, Any]:
    """Return what was published as plain values."""
    return {
        "registry": result.registry,
        "collection": str(result.collection),
        "revision": result.revision,
        "published": [f"{release.name}=={release.version}" for release in result.published],
        "unchanged": [f"{release.name}=={release.version}" for release in result.unchanged],
        "bytes": result.size,
        "dry_run": result.dry_run,
    }
