"""The answer to a request: which releases, why each, and the lock that pins them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub.resolver.forms import DELTA, plan_forms
from modhub.spec.lock import Lock, LockedModule, Request

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from modhub.resolver.catalog import Candidate
    from modhub.spec.names import PackageId
    from modhub.spec.provenance import Runtime
    from modhub.spec.requirements import ClassRequirement, PackageRequirement


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """Releases that satisfy all requirements.

    Args:
        requirements: what was asked for.
        parts: the release that each requirement got, in the same order.
        chosen: every release, those that parts depend on among them, by package.
        edges: which package needs which.
    """

    requirements: tuple[PackageRequirement | ClassRequirement, ...]
    parts: tuple[Candidate, ...]
    chosen: Mapping[PackageId, Candidate]
    edges: tuple[tuple[PackageId, PackageId], ...]

    def why(self, package: PackageId) -> tuple[str, ...]:
        """Return what asked for a package: requirements in their order, then releases that need it, sorted."""
        return (*self._asking(package), *map(str, self._needing(package)))

    def lock(
        self, *, created_by: str, target: Runtime, request: Request | None = None, cached: Collection[str] = ()
    ) -> Lock:
        """Return the lock that pins these releases, each in the form that makes for the fewest bytes to fetch.

        A base that no delta needs, because every module travels whole, is left out.

        Args:
            created_by: the program that writes the lock.
            target: what is to run the answer.
            request: how the requirements were to be satisfied.
            cached: digests of files that need no fetching.
        """
        forms = self.forms(cached=cached)
        modules = [self._locked(self.chosen[package], forms=forms) for package in forms]
        return Lock(
            created_by=created_by,
            requirements=tuple(str(requirement) for requirement in self.requirements),
            request=request or Request(),
            modules=tuple(sorted(modules, key=lambda module: module.name)),
            target=target,
        )

    def forms(self, *, cached: Collection[str] = ()) -> dict[PackageId, str]:
        """Return the form of every release that is needed: the one that a requirement asks for, or the cheapest."""
        asked: dict[PackageId, str] = {}
        for requirement, part in zip(self.requirements, self.parts, strict=True):
            asked[part.package] = asked.get(part.package) or requirement.variant or ""
        return plan_forms(asked, chosen=self.chosen, edges=self.edges, cached=cached)

    def _asking(self, package: PackageId) -> tuple[str, ...]:
        pairs = zip(self.requirements, self.parts, strict=True)
        return tuple(dict.fromkeys(str(requirement) for requirement, part in pairs if part.package == package))

    def _needing(self, package: PackageId) -> list[Candidate]:
        return [self.chosen[parent] for parent in sorted({above for above, child in self.edges if child == package})]

    def _locked(self, candidate: Candidate, *, forms: Mapping[PackageId, str]) -> LockedModule:
        package, release, form = candidate.package, candidate.release, forms[candidate.package]
        needing = [each for each in self._needing(package) if forms.get(each.package) == DELTA]
        needed = {child for parent, child in self.edges if parent == package} if form == DELTA else set()
        return LockedModule(
            name=str(package),
            version=release.version,
            kind=release.kind,
            registry=candidate.registry,
            revision=candidate.revision,
            manifest_sha256=release.manifest.sha256,
            form=form,
            files=release.forms[form],
            depends=tuple(sorted(f"{child}=={self.chosen[child].release.version}" for child in needed)),
            parent=release.parent,
            input=release.input.key(),
            semantic=release.semantic,
            calibrated=release.calibrated,
            classes=release.classes,
            license=release.terms,
            why=(*self._asking(package), *map(str, needing)),
        )
