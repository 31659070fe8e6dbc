"""`modhub registry`: registries by name, mirrors, and tokens for one of your own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from modhub.cli.commands.bundle import tell
from modhub.cli.groups import LazyGroup
from modhub.cli.options import PATH, address_of, json_option, output_option, settings, store_option
from modhub.cli.output import print_json, print_table, say
from modhub.cli.progress import waiting

if TYPE_CHECKING:
    from pathlib import Path

LAZY = {"token": ("modhub.cli.commands.registry_token:token", "who may do what on a self-hosted registry")}
"""The server's own commands; nobody else needs what they import."""


@click.group(cls=LazyGroup, lazy=LAZY, epilog="\b\nExample: modhub registry add work https://modules.example.org")
def command() -> None:
    """Look after registries: those that go by a name here, and one of your own."""


@command.command(name="list", epilog="\b\nExample: modhub registry list")
@json_option
def list_names(*, as_json: bool) -> None:
    """List the registries that have a name here, and their addresses."""
    found = {"seed:": "comes with modhub, the default", **settings().registries}
    if as_json:
        print_json([{"name": name, "address": address} for name, address in settings().registries.items()])
    else:
        print_table([{"name": name, "address": address} for name, address in found.items()])


@command.command(name="add", epilog="\b\nExample: modhub registry add work https://modules.example.org")
@click.argument("name")
@click.argument("address")
@json_option
def add(name: str, address: str, *, as_json: bool) -> None:
    """Let NAME stand for ADDRESS wherever a registry is asked for; it is written into the settings file."""
    from modhub.cli.registry_names import add_name

    path = add_name(name, address)
    if as_json:
        print_json({"name": name, "address": address, "file": str(path)})
    else:
        click.echo(f"{name} is {address}, in {path}")


@command.command(name="remove", epilog="\b\nExample: modhub registry remove work")
@click.argument("name")
@json_option
def remove(name: str, *, as_json: bool) -> None:
    """Forget what NAME stands for; the registry itself is left alone."""
    from modhub.cli.registry_names import remove_name

    path = remove_name(name)
    if as_json:
        print_json({"name": name, "file": str(path)})
    else:
        click.echo(f"forgot {name}, in {path}")


@command.command(name="mirror", epilog="\b\nExample: modhub registry mirror hf://acme ./registry")
@click.argument("source")
@click.argument("target")
@click.argument("collections", nargs=-1)
@store_option
@json_option
def mirror(source: str, target: str, collections: tuple[str, ...], *, store: Path | None, as_json: bool) -> None:
    """Copy COLLECTIONS (default: all) from SOURCE to TARGET, byte for byte.

    Each is one commit, and only what TARGET lacks is copied: run it again to bring it up to date. A collection that
    has a history of its own there is refused.
    """
    from modhub import flow

    with waiting("mirroring") as progress:
        copies = flow.mirror(
            address_of(source), address_of(target), collections=collections, store=store, progress=progress
        )
    tell(copies, as_json=as_json)


@command.command(
    name="sign-index", epilog="\b\nExample: modhub registry sign-index ./registry --keys keys -o ./registry/.tuf"
)
@click.argument("registry")
@click.option("--keys", type=PATH, required=True, help="Folder of private keys; made where there are none.")
@output_option("Folder of the signed metadata, for any web server.")
@click.option("--days", type=click.IntRange(1, 30), default=2, help="For how long it holds; default: 2.")
@click.option(
    "--rotate",
    multiple=True,
    type=click.Choice(["root", "targets", "snapshot", "timestamp"]),
    help="Give a role a new key. Repeatable.",
)
@store_option
@json_option
def sign_index(
    registry: str,
    *,
    keys: Path,
    output: Path,
    days: int,
    rotate: tuple[str, ...],
    store: Path | None,
    as_json: bool,
) -> None:
    """Sign the index of every collection of REGISTRY, by The Update Framework (TUF).

    Run it after each publish, and before --days are over. Give users the newest root.json; with it and the folder in
    their settings, as [signed.NAME], they notice a registry that shows old, mixed or changed indexes. Keep root.pem
    elsewhere: only --rotate needs it. MODHUB_KEY_PASSWORD locks the keys.
    """
    from modhub.hub.index_signer import sign_index as sign
    from modhub.workspace import Workspace

    address = address_of(registry)
    with waiting("signing"):
        client = Workspace.open([address], store=store).client
        signed = sign(client, keys=keys, folder=output, days=days, rotate=rotate)
    if as_json:
        print_json(
            {
                "collections": signed.collections,
                "version": signed.version,
                "expires": signed.expires.isoformat(),
                "root": str(signed.root),
            }
        )
        return
    until = f"{signed.expires:%Y-%m-%d %H:%M} UTC"
    click.echo(
        f"signed {signed.collections} collection{'s' if signed.collections != 1 else ''}; it holds until {until}"
    )
    say(f"next: give your users {signed.root}, and serve {output}")
