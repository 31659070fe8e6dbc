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


def smallest_form(release: Release) -> int:
    """Return the bytes of a release in its smallest form, manifest included, dependencies not."""
    return release.manifest.size + min(sum(file.size for file in files) for files in release.forms.values())


def lowest_f1(release: Release) -> float:
    """Return the F1 that may be relied on, the low end of its interval; 0 where none was measured."""
    metric = release.metrics.get("f1")
    return metric.lower_bound if metric else 0.0
