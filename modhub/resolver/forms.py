"""In which form each release of an answer travels.

A delta is tiny, but needs its base; a standalone module is larger, but needs nothing. So one module of a base usually
travels whole, and ten as deltas. The plan is made for each base on its own, and counts the bytes still to be fetched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from modhub.resolver.catalog import Candidate
    from modhub.spec.digests import FileRecord
    from modhub.spec.names import PackageId

DELTA, STANDALONE = "delta", "standalone"


def plan_forms(
    asked: Mapping[PackageId, str],
    *,
    chosen: Mapping[PackageId, Candidate],
    edges: Iterable[tuple[PackageId, PackageId]],
    cached: Collection[str] = (),
) -> dict[PackageId, str]:
    """Return the form of every release that is needed, by package.

    Args:
        asked: what was asked for, with the form that it has to come in; empty where any will do.
        chosen: every release of the answer.
        edges: which package needs which.
        cached: digests of files that need no fetching.
    """
    needs: dict[PackageId, list[PackageId]] = {}
    for package, child in edges:
        needs.setdefault(package, []).append(child)
    deltas: dict[frozenset[PackageId], list[Candidate]] = {}
    forms: dict[PackageId, str] = {}
    for part, variant in asked.items():
        candidate = chosen[part]
        form = variant or _only_form(candidate)
        if form is None:
            deltas.setdefault(_needed([part], needs), []).append(candidate)
        else:
            forms[part] = form
    fixed = forms.keys() | _needed([package for package, form in forms.items() if form == DELTA], needs)
    for bases, modules in deltas.items():
        form = _cheaper(modules, bases=[chosen[base] for base in bases - fixed], cached=cached)
        forms.update((module.package, form) for module in modules)
    for package in sorted(_needed([package for package, form in forms.items() if form == DELTA], needs)):
        forms.setdefault(package, _only_form(chosen[package]) or DELTA)
    return forms


def _only_form(candidate: Candidate) -> str | None:
    """Return the form that a release has to travel in, or none where there is a choice."""
    forms = candidate.release.forms
    if DELTA in forms and STANDALONE in forms:
        return None
    return next((form for form in (STANDALONE, DELTA) if form in forms), min(forms))


def _cheaper(modules: Iterable[Candidate], *, bases: Iterable[Candidate], cached: Collection[str]) -> str:
    whole = [module.release.forms[STANDALONE] for module in modules]
    parts = [module.release.forms[DELTA] for module in modules]
    parts += [base.release.forms[_only_form(base) or DELTA] for base in bases]
    return DELTA if _bytes(parts, cached=cached) <= _bytes(whole, cached=cached) else STANDALONE


def _bytes(groups: Iterable[Iterable[FileRecord]], *, cached: Collection[str]) -> int:
    missing = {file.sha256: file.size for files in groups for file in files if file.sha256 not in cached}
    return sum(missing.values())


def _needed(packages: Iterable[PackageId], needs: Mapping[PackageId, list[PackageId]]) -> frozenset[PackageId]:
    """Return what packages depend on, and what that depends on in turn."""
    found: set[PackageId] = set()
    pending = list(packages)
    while pending:
        parent = pending.pop()
        new = set(needs.get(parent, ())) - found
        found |= new
        pending += new
    return frozenset(found)
