"""`modhub publish`."""

from __future__ import annotations

from pathlib import Path

import click

from modhub.cli.options import PATH, json_option
from modhub.cli.output import byte_size, print_json, say


@click.command(epilog="Example: modhub publish out --to ./registry --name acme/resnet20-cifar10")
@click.argument("folder", type=PATH)
@click.option("--to", required=True, envvar="MODHUB_REGISTRY", help="The registry: a folder, hf://owner, http(s)://host[:port].")
@click.option("--name", default=None, help="The collection, owner/name; default: local/ and the folder's name.")
@click.option("--message", "-m", default="", help="Commit message.")
@click.option("--dry-run", is_flag=True, help="Check everything and say what would be published.")
@json_option
def command(folder: Path, *, to: str, name: str | None, message: str, dry_run: bool, as_json: bool) -> None:
    """Publish the packages in FOLDER to a registry, in one atomic commit.

    Publishing the same bytes again is a success; other bytes under a published version are refused.
    """
    from modhub import flow

    packages = flow.check(folder)
    collection = name or f"local/{folder.resolve().name}"
    result = flow.publish(packages, to=to, collection=collection, message=message, dry_run=dry_run)
    if as_json:
        print_json(
            {
                "registry": result.registry,
                "collection": collection,
                "revision": result.revision,
                "published": [f"{release.name}=={release.version}" for release in result.published],
                "unchanged": [f"{release.name}=={release.version}" for release in result.unchanged],
                "bytes": result.size,
                "dry_run": result.dry_run,
            }
        )
        return
    verb = "would publish" if dry_run else "published"
    if result.already:
        click.echo(f"{collection}: all {len(result.unchanged)} releases are there already, with the same bytes")
    else:
        names = ", ".join(f"{release.name} {release.version}" for release in result.published)
        click.echo(f"{verb} {len(result.published)} releases ({byte_size(result.size)}) to {collection}: {names}")
    say(f"next: modhub install -r {to} {collection}/{packages[-1].name}")
