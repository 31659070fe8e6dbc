"""`modhub publish`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from modhub.cli.options import PATH, address_of, json_option, store_option
from modhub.cli.output import byte_size, print_json, print_text, say
from modhub.cli.progress import waiting

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
@click.option("--sign", "key", type=PATH, help="Sign with a private key; default: take along what `modhub sign` made.")
@click.option("--private", is_flag=True, help="Show a new collection to nobody else, on a server.")
@store_option
@json_option
def command(  # noqa: PLR0913  Each is an option.
    folder: Path,
    *,
    to: str,
    name: str | None,
    message: str,
    dry_run: bool,
    key: Path | None,
    private: bool,
    store: Path | None,
    as_json: bool,
) -> None:
    """Publish the packages in FOLDER to a registry, in one atomic commit.

    Publishing the same bytes again is a success; other bytes under a published version are refused.
    """
    from modhub import flow
    from modhub.workspace.signatures import sign_packages, signatures_in

    collection = name or f"local/{folder.resolve().name}"
    with waiting("checking"):
        packages = flow.check(folder)
    with waiting("signing"):
        signatures = signatures_in(folder) if key is None else sign_packages(packages, collection=collection, key=key)
    warn_of_lookalikes(collection, address_of(to), store=store)
    with waiting("publishing"):
        result = flow.publish(
            packages,
            to=address_of(to),
            collection=collection,
            message=message,
            dry_run=dry_run,
            private=private,
            store=store,
            signatures=signatures,
        )
    if as_json:
        print_json(plain(result))
        return
    if result.already:
        print_text(f"{collection}: all {len(result.unchanged)} releases are there already, with the same bytes")
    else:
        verb = "would publish" if dry_run else "published"
        names = ", ".join(f"{release.name} {release.version}" for release in result.published)
        count = len(result.published)
        print_text(
            f"{verb} {count} release{'s' if count != 1 else ''} ({byte_size(result.size)}) to {collection}: {names}"
        )
    say(f"next: modhub install -r {to} {collection}/{packages[-1].name}")


def warn_of_lookalikes(collection: str, registry: str, *, store: Path | None) -> None:
    """Say whom the owner of a new collection could be mistaken for, in the seed or in a registry that can be listed."""
    from modhub.errors import ModhubError
    from modhub.hub.registries import SEED
    from modhub.spec.lookalikes import lookalikes
    from modhub.spec.names import CollectionId
    from modhub.workspace import Workspace

    wanted = CollectionId.parse(collection)
    known = set(Workspace.open([SEED], store=store).client.collections())
    # All of the Hub is no list to go through. A new folder has none; of all else publishing will tell.
    with suppress(ModhubError):
        if not registry.startswith("hf:"):
            known.update(Workspace.open([registry], store=store).client.collections())
    if wanted not in known:
        for owner in lookalikes(wanted, known):
            say(f"warning: {wanted.owner} is easily mistaken for {owner}, whose packages are known already")


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
