"""`modhub login`, `modhub logout` and `modhub whoami`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from modhub.cli.options import address_of, json_option
from modhub.cli.output import print_json
from modhub.errors import UsageError

if TYPE_CHECKING:
    from modhub.hub.huggingface import HuggingFaceBackend

registry_argument = click.argument("registry", default="hf://")


@click.command(epilog="\b\nExample: modhub login https://modules.example.org")
@registry_argument
@click.option("--token", help="The token; asked for, or read from a pipe, where it is not given.")
@json_option
def command(registry: str, *, token: str | None, as_json: bool) -> None:
    """Keep a token for REGISTRY, after asking the registry whether it is good.

    REGISTRY is an address or a configured name; without one it is the Hugging Face Hub, whose token is kept where
    `hf auth login` keeps it. A token is sent to the registry it was kept for, and to no other. For machines:
    MODHUB_TOKEN, or HF_TOKEN for the Hub.
    """
    from modhub.hub.tokens import keep_token

    backend = server(registry)
    given = (token if token is not None else asked(backend.name)).strip()
    if not given:
        raise click.UsageError("The token is empty.")
    name = backend.with_token(given).whoami()
    keep_token(backend.endpoint, given)
    tell(backend, name, as_json=as_json, words="logged in as")


@click.command(epilog="\b\nExample: modhub logout https://modules.example.org")
@registry_argument
@json_option
def logout(registry: str, *, as_json: bool) -> int:
    """Forget the token that is kept for REGISTRY; without one, for the Hugging Face Hub.

    Exit code 1 when there was none.
    """
    from modhub.hub.tokens import drop_token

    backend = server(registry)
    there = drop_token(backend.endpoint)
    if as_json:
        print_json({"registry": backend.name, "forgotten": there})
    else:
        click.echo(f"{'forgot the' if there else 'there was no'} token for {backend.name}")
    return 0 if there else 1


@click.command(epilog="\b\nExample: modhub whoami https://modules.example.org")
@registry_argument
@json_option
def whoami(registry: str, *, as_json: bool) -> None:
    """Say which account REGISTRY sees; without one, the Hugging Face Hub."""
    backend = server(registry)
    tell(backend, backend.whoami(), as_json=as_json)


def server(registry: str) -> HuggingFaceBackend:
    """Return the server that an address or a configured name stands for.

    Raises:
        UsageError: it is no server.
    """
    from modhub.hub.huggingface import HuggingFaceBackend
    from modhub.hub.registries import open_registry

    backend = open_registry(address_of(registry))
    if not isinstance(backend, HuggingFaceBackend):
        raise UsageError(f"{registry!r} is no server that asks for a token: expected hf:// or https://HOST")
    return backend


def asked(name: str) -> str:
    """Return the token that a person types unseen, or that comes through a pipe."""
    if sys.stdin.isatty():
        return str(click.prompt(f"Token for {name}", hide_input=True, err=True))
    return sys.stdin.readline()


def tell(backend: HuggingFaceBackend, name: str, *, as_json: bool, words: str = "") -> None:
    """Print who somebody is, and where."""
    if as_json:
        print_json({"registry": backend.name, "endpoint": backend.endpoint, "user": name})
    else:
        click.echo(f"{words} {name} at {backend.name}".strip())
