"""`modhub info`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modhub.cli.options import json_option, workspace_of, workspace_options
from modhub.cli.output import byte_size, print_json, print_table, say

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.flow import Info
    from modhub.spec.index import Release


@click.command(epilog="Example: modhub info modhub/resnet20-cifar10/cat")
@click.argument("reference")
@workspace_options
@json_option
def command(
    reference: str, *, registries: tuple[str, ...], store: Path | None, offline: bool, as_json: bool
) -> None:
    """Show a collection (owner/name) or a package (owner/name/package): versions, metrics, dependencies, dependents."""
    from modhub import flow

    found = flow.info(reference, workspace=workspace_of(registries, store=store, offline=offline))
    if as_json:
        print_json(plain(found))
    elif found.package is None:
        print_collection(found)
    else:
        print_package(found)


def plain(found: Info) -> dict[str, Any]:
    """Return what is known as plain values."""
    releases = found.index.find(found.package) if found.package else found.index.releases
    return {
        "collection": found.collection,
        "revision": found.index.revision,
        "summary": found.index.summary,
        "package": found.package,
        "dependents": list(found.dependents),
        "releases": [release.to_dict() for release in releases],
    }


def print_collection(found: Info) -> None:
    """Print the packages of a collection."""
    if found.index.summary:
        click.echo(found.index.summary)
    rows = [
        {
            "package": release.name,
            "version": release.version,
            "kind": release.kind,
            "license": release.license,
            "size": byte_size(size_of(release)),
            "state": state_of(release),
        }
        for release in found.index.releases
    ]
    print_table(rows, title=f"{found.collection}, revision {found.index.revision}")


def print_package(found: Info) -> None:
    """Print the versions of a package, and its newest one in full."""
    assert found.package is not None
    releases = found.index.find(found.package)
    newest = releases[-1]
    lines = {
        "summary": newest.summary,
        "version": f"{newest.version} ({', '.join(r.version for r in releases)})",
        "classes": ", ".join(newest.classes),
        "license": newest.license,
        "input": str(newest.input),
        "score": f"{newest.semantic}{', calibrated' if newest.calibrated else ''}",
        "method": newest.method or "-",
        "needs": ", ".join(f"{need.package} {need.version}" for need in newest.dependencies) or "-",
        "needed by": ", ".join(found.dependents) or "-",
        "forms": ", ".join(f"{form} {byte_size(sum(f.size for f in files))}" for form, files in newest.forms.items()),
        "state": state_of(newest),
    }
    click.echo(f"{found.collection}/{found.package}")
    for name, value in lines.items():
        click.echo(f"  {name:<10} {value}")
    rows = [
        {"metric": name, "value": metric.value, "low": metric.low, "high": metric.high, "n": metric.n, "split": metric.split}
        for name, metric in newest.metrics.items()
    ]
    print_table(rows)
    say(f"next: modhub compose {found.collection}/{found.package} -o composed")


def size_of(release: Release) -> int:
    """Return the bytes of all files of a release."""
    return release.manifest.size + sum(file.size for file in release.files)


def state_of(release: Release) -> str:
    """Return whether a release is to be used."""
    if release.yanked is not None:
        return f"yanked: {release.yanked}"
    return f"deprecated: {release.deprecated}" if release.deprecated is not None else "fine"
