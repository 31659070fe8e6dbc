"""Which one release, or which one package, a text names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.errors import FormatError, NotFound, UsageError
from modhub.spec.document import shown
from modhub.spec.names import PackageId
from modhub.spec.versions import parse_version

if TYPE_CHECKING:
    from modhub.hub.client import Client


def named_release(text: str, client: Client) -> tuple[PackageId, str]:
    """Return package and version that ``owner/collection/name==1.0.0`` names; the version of the only release may go.

    This is no requirement, which several releases may satisfy: no origin, variant or digest, and the whole version.

    Raises:
        UsageError: it is no such text, or does not say which release of several.
        NotFound: there is no such collection or package.
        HubError: the registry cannot be read.
    """
    name, equals, version = text.partition("==")
    try:
        package = PackageId.parse(name)
        if equals:
            return package, str(parse_version(version))
    except FormatError as error:
        problem = f"{shown(text)} names no release: expected one like acme/pets/cat==1.0.0; {error.problem}"
        raise UsageError(problem) from error
    releases = client.index(package.collection).find(package.name)
    if not releases:
        raise NotFound(f"{package.collection} has no package {package.name!r}")
    if len(releases) > 1:
        versions = ", ".join(release.version for release in releases)
        raise UsageError(f"{text} has the versions {versions}: say which, as in {text}=={releases[-1].version}")
    return package, releases[0].version
