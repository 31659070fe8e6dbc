"""`modhub sign` and `modhub verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from modhub.cli.options import PATH, json_option, trust_option
from modhub.cli.output import print_json
from modhub.cli.progress import waiting

if TYPE_CHECKING:
    from pathlib import Path

name_option = click.option("--name", required=True, help="The collection, owner/name: signatures name it too.")


@click.command(epilog="\b\nExample: modhub sign out --key acme.pem --name acme/resnet20-cifar10")
@click.argument("folder", type=PATH)
@click.option("--key", type=PATH, required=True, help="A private key of an elliptic curve, in PEM form.")
@name_option
@json_option
def command(folder: Path, *, key: Path, name: str, as_json: bool) -> None:
    """Sign every package of the collection in FOLDER, before it is published.

    The signatures go into the folder's modhub.json; `modhub publish` takes them along. MODHUB_KEY_PASSWORD holds the
    key's password, if it has one. Make a key: openssl ecparam -name prime256v1 -genkey -noout -out acme.pem; its public
    half: openssl ec -in acme.pem -pubout -out acme.pub
    """
    from modhub.workspace.signatures import sign_folder

    with waiting("signing"):
        signed = sign_folder(folder, key=key, collection=name)
    if as_json:
        print_json({"signed": list(signed)})
        return
    click.echo(f"signed {len(signed)} packages: {', '.join(signed)}")


@click.command(epilog="\b\nExample: modhub verify out --trust acme=acme.pub --name acme/resnet20-cifar10")
@click.argument("folder", type=PATH)
@trust_option
@name_option
@json_option
def verify(folder: Path, *, trusted: tuple[str, ...], name: str, as_json: bool) -> None:
    """Check that every package of the collection in FOLDER is signed by a key that you trust.

    Exit code 4 when one is not. A key written OWNER=FILE signs for that owner alone.
    """
    from modhub.package.signing import TrustedKey
    from modhub.workspace.signatures import verify_folder

    if not trusted:
        raise click.UsageError("Say whom to believe: --trust FILE.")
    with waiting("verifying"):
        keys = [TrustedKey.parse(text) for text in trusted]
        found = verify_folder(folder, keys=keys, collection=name)
    if as_json:
        print_json({"packages": [{"package": package, "key": str(key)} for package, key in found.items()]})
        return
    for package, key in found.items():
        click.echo(f"{package}: signed with {key}")
