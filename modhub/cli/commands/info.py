"""`modhub info`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modhub.cli.options import json_option, workspace_options
from modhub.cli.output import byte_size, print_fields, print_json, print_table, print_text, say
from modhub.cli.progress import waiting

if TYPE_CHECKING:
    from modhub.cli.options import Places
    from modhub.flow import Info
    from modhub.spec.index import Release


@click.command(epilog="\b\nExample: modhub info modhub/resnet20-cifar10/cat")
@click.argument("reference")
@workspace_options
@json_option
def command(reference: str, *, places: Places, as_json: bool) -> None:
    """Show a collection (owner/name) or a package (owner/name/package).

    Of a package its versions, metrics, dependencies and dependents are shown.
    """
    from modhub import flow

    with waiting("looking up"):
        found = flow.info(reference, workspace=places.open())
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
        "registry": found.registry,
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
        print_text(found.index.summary)
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
    releases = found.index.find(found.package or "")
    newest = releases[-1]
    lines = {
        "summary": newest.summary,
        "versions": ", ".join(f"{r.version}{' (yanked)' if r.yanked else ''}" for r in releases),
        "classes": ", ".join(newest.classes),
        "license": newest.license,
        "input": str(newest.input),
        "score": f"{newest.semantic}{', calibrated' if newest.calibrated else ''}",
        "method": newest.method or "-",
        "needs": ", ".join(f"{need.package} {need.version}" for need in newest.dependencies) or "-",
        "needed by": dependents_of(found),
        "forms": ", ".join(f"{form} {byte_size(sum(f.size for f in files))}" for form, files in newest.forms.items()),
        "state": state_of(newest),
    }
    print_fields(f"{found.collection}/{found.package}", lines)
    rows = [
        {
            "metric": name,
            "value": metric.value,
            "low": metric.low,
            "high": metric.high,
            "n": metric.n,
            "split": metric.split,
        }
        for name, metric in newest.metrics.items()
    ]
    print_table(rows)
    if newest.kind == "module":
        say(f"next: modhub compose {found.collection}/{found.package} -o composed")


def dependents_of(found: Info) -> str:
    """Return the packages that depend on one, those of its own collection by their short names."""
    prefix = f"{found.collection}/"
    return ", ".join(name.removeprefix(prefix) for name in found.dependents) or "-"


def size_of(release: Release) -> int:
    """Return the bytes of all files of a release."""
    return release.manifest.size + sum(file.size for file in release.files)


def state_of(release: Release) -> str:
    """Return whether a release is to be used."""
    if release.yanked is not None:
        return f"yanked: {release.yanked}"
    return f"deprecated: {release.deprecated}" if release.deprecated is not None else "fine"
