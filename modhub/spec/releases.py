"""Questions about the releases of an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modhub.spec.index import Release


def newest_releases(releases: Iterable[Release]) -> list[Release]:
    """Return the newest release of each package, in the order of names; yanked ones are left out.

    A pre-release counts only where a package has nothing else. The releases come sorted, as in an index.
    """
    newest: dict[str, Release] = {}
    for release in releases:
        known = newest.get(release.name)
        if release.yanked is None and (known is None or known.number.is_prerelease >= release.number.is_prerelease):
            newest[release.name] = release
    return list(newest.values())
