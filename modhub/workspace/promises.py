"""Whether a package is what the index and the lock said when it was chosen.

Digests say that bytes are the ones that an index lists; only a look into them says that it lists them under their own
name. A server of modhub looks when they are published. A folder and the Hub take what they are given.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from modhub.errors import IntegrityError
from modhub.package.package import MANIFEST_FILE
from modhub.spec.index import Release

if TYPE_CHECKING:
    from modhub.hub.client import Client
    from modhub.package.package import Package
    from modhub.spec.lock import LockedModule


def check_promises(module: LockedModule, package: Package, client: Client) -> None:
    """Check that a verified package is what a lock says of it, and what its registry's index said, if that was seen.

    Raises:
        IntegrityError: it is not: another package, another version, other classes, terms, metrics or dependencies.
    """
    found = Release.of(package.manifest, package.read(MANIFEST_FILE))
    promised = {
        "name": (module.package.name, found.name),
        "version": (module.version, found.version),
        "kind": (module.kind, found.kind),
        "classes": (module.classes, found.classes),
        "license": (module.license, found.terms),
        "files": (module.files, found.forms.get(module.form, ())),
        "parent": (module.parent, found.parent),
        "input": (module.input, found.input.key()),
        "semantic": (module.semantic, found.semantic),
        "calibrated": (module.calibrated, found.calibrated),
    }
    for what, (said, is_so) in promised.items():
        if said is not None and said != is_so:
            name = f"{module.name} {module.version}"
            problem = f"{said!r}, its {MANIFEST_FILE} says {is_so!r}" if what != "files" else "others than it has"
            raise IntegrityError(f"{name} is not what it was chosen for: {what} was {problem}")
    listed = _listed(module, client)
    if listed is not None and _as_published(listed, found) != found:
        raise IntegrityError(
            f"{module.name} {module.version} is not what it was chosen for: the index of {module.registry} says other"
            f" things of it than its {MANIFEST_FILE}"
        )


def _listed(module: LockedModule, client: Client) -> Release | None:
    """Return what the index last seen lists, without asking the registry again."""
    known = client.last_seen(module.package.collection, registry=module.registry)
    release = known.index.get(module.package.name, module.version) if known else None
    return release if release is not None and release.manifest.sha256 == module.manifest_sha256 else None


def _as_published(release: Release, found: Release) -> Release:
    """Return an entry without the marks that come later."""
    return dataclasses.replace(release, yanked=None, deprecated=None, extra=found.extra)
