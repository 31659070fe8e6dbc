"""Which one release, or which one package, a text names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.errors import NotFound, UsageError
from modhub.spec.requirements import PackageRequirement, parse_requirement

if TYPE_CHECKING:
    from modhub.hub.client import Client
    from modhub.spec.names import PackageId


def named_release(text: str, client: Client) -> tuple[PackageId, str]:
    """Return package and version that ``owner/collection/name==1.0.0`` names; the version of the only release may go.

    Raises:
        UsageError: it is no such text, or does not say which release of several.
        NotFound: there is no such collection or package.
        HubError: the registry cannot be read.
    """
    found = parse_requirement(text)
    clauses = list(found.specifier) if isinstance(found, PackageRequirement) else []
    if not isinstance(found, PackageRequirement) or any(clause.operator != "==" for clause in clauses):
        raise UsageError(f"{text!r} names no release: expected one like acme/pets/cat==1.0.0")
    if clauses:
        return found.package, clauses[0].version
    releases = client.index(found.package.collection).find(found.package.name)
    if not releases:
        raise NotFound(f"{found.package.collection} has no package {found.package.name!r}")
    if len(releases) > 1:
        versions = ", ".join(release.version for release in releases)
        raise UsageError(f"{text} has the versions {versions}: say which, as in {text}=={releases[-1].version}")
    return found.package, releases[0].version
