"""`modhub serve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modhub.cli.options import PATH, json_option
from modhub.cli.output import print_json

if TYPE_CHECKING:
    from modhub_registry.settings import Settings

GIB = 1 << 30

EPILOG = """\b
Make a token where the server is, and use any client of the Hugging Face Hub:
  modhub registry token create --root ./registry --user alice --scope write
  HF_ENDPOINT=http://127.0.0.1:8000 HF_TOKEN=hf_... hf upload alice/pets .
\b
Example: modhub serve ./registry --port 8000
"""


@click.command(epilog=EPILOG)
@click.argument("folder", type=PATH, default=Path("modhub-registry"), metavar="[DIR]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 for a free one.")
@click.option("--database", default="", metavar="URL", help="postgresql://... instead of SQLite in DIR.")
@click.option("--store", default="", metavar="URL", help="s3://bucket/prefix instead of files in DIR.")
@click.option("--public-url", default="", metavar="URL", help="How clients reach a server behind a proxy.")
@click.option("--private", is_flag=True, help="Reading takes a token too.")
@click.option(
    "--checks",
    type=click.Choice(["full", "index"]),
    default="full",
    show_default=True,
    help="How far uploaded modhub packages are looked into.",
)
@click.option("--rate-limit", type=click.IntRange(0), default=12_000, show_default=True, help="Requests a minute.")
@click.option("--quota", type=click.IntRange(0), default=0, help="GiB that one owner may keep; 0 for no limit.")
@click.option("--max-file", type=click.IntRange(1), default=64, show_default=True, help="GiB of one file.")
@json_option
def command(folder: Path, *, host: str, port: int, as_json: bool, **choices: Any) -> None:
    """Serve a registry from DIR (default: ./modhub-registry) until Ctrl-C.

    It speaks the protocol of the Hugging Face Hub, and checks what is uploaded to modhub collections. DIR is made
    where there is none. Several servers may share one --database and --store.
    """
    from modhub.errors import MissingExtra

    try:
        from modhub_registry import run
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), extra="server", purpose="serving a registry") from error
    run.serve(
        settings_of(folder, **choices),
        host=host,
        port=port,
        started=lambda address: tell(address, folder, as_json=as_json),
    )


def settings_of(folder: Path, **choices: Any) -> Settings:
    """Return the settings that the options describe."""
    from modhub_registry.settings import Limits, Settings

    rate, quota, largest = (choices.pop(name) for name in ("rate_limit", "quota", "max_file"))
    limits = Limits(requests_per_minute=rate, owner_bytes=quota * GIB, file_bytes=largest * GIB)
    return Settings(root=folder, limits=limits, **choices)


def tell(address: str, folder: Path, *, as_json: bool) -> None:
    """Say where the registry is, on standard output, so that scripts can wait for it."""
    if as_json:
        print_json({"url": address, "root": str(folder.absolute())})
        return
    click.echo(f"modhub registry at {address} (files in {folder}); Ctrl-C stops it")
