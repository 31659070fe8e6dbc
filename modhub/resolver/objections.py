"""Why a release is no answer: each rule refuses with the phrase that explains it, or has no objection."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from modhub.resolver.phrases import Phrase, listed
from modhub.spec.requirements import ClassRequirement, PackageRequirement, parse_share, parse_size
from modhub.spec.versions import format_specifier, parse_specifier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.specifiers import SpecifierSet

    from modhub.resolver.catalog import Candidate
    from modhub.resolver.options import Options, Policy
    from modhub.spec.index import Release


def general_objection(candidate: Candidate, *, options: Options) -> Phrase | None:
    """Return why nobody may choose a release, or none: it is yanked, or the policy forbids it."""
    if candidate.release.yanked is not None and not is_pinned(candidate, options=options):
        return Phrase("is", f"yanked ({candidate.release.yanked})" if candidate.release.yanked else "yanked")
    return policy_objection(candidate.release, policy=options.policy)


def policy_objection(release: Release, *, policy: Policy) -> Phrase | None:
    """Return what the policy has against a release, or none."""
    if policy.licenses is not None and not permits(release.license, allowed=policy.licenses):
        return Phrase("is", f"licensed {release.license}, which the policy does not allow")
    if policy.onnxruntime is not None:
        needed = parse_specifier(release.runtime.onnxruntime)
        if not needed.contains(policy.onnxruntime, prereleases=True):
            return Phrase("needs", f"onnxruntime{format_specifier(needed)}, and {policy.onnxruntime} is to run it")
    if release.kind == "base":
        return None
    return _f1_objection(release, least=policy.min_f1) or _size_objection(release, most=policy.max_size)


def objection(
    candidate: Candidate, requirement: PackageRequirement | ClassRequirement, *, options: Options
) -> Phrase | None:
    """Return why a release does not satisfy a requirement, or none."""
    if isinstance(requirement, ClassRequirement):
        return next(_option_objections(candidate, requirement), None) or early_objection(candidate, options=options)
    specifier, release = requirement.specifier, candidate.release
    if not specifier.contains(candidate.number, prereleases=True):
        return Phrase("is", f"outside {format_specifier(specifier)}")
    if requirement.sha256 is not None and requirement.sha256 != release.manifest.sha256:
        return Phrase("has", f"the digest {release.manifest.sha256}")
    if requirement.variant is not None and requirement.variant not in release.forms:
        return Phrase("comes", f"as {listed(sorted(release.forms))} only")
    return early_objection(candidate, options=options, specifier=specifier)


def early_objection(candidate: Candidate, *, options: Options, specifier: SpecifierSet | None = None) -> Phrase | None:
    """Return that a release is a pre-release which nobody asked for, or none."""
    if not candidate.number.is_prerelease or options.allow_prerelease or is_pinned(candidate, options=options):
        return None
    if specifier is not None and specifier.prereleases:
        return None
    return Phrase("is", "a pre-release, which nobody asked for")


def is_pinned(candidate: Candidate, *, options: Options) -> bool:
    """Return whether a release is the one to keep of its package."""
    return options.pins.get(candidate.package) == candidate.release.version


def permits(expression: str, *, allowed: frozenset[str]) -> bool:
    """Return whether a licence expression can be met with some SPDX identifiers: any of an OR, all of an AND.

    >>> permits("MIT AND (Apache-2.0 OR GPL-3.0-only)", allowed=frozenset({"MIT", "Apache-2.0"}))
    True
    """
    tokens = re.findall(r"[()]|[^\s()]+(?: WITH [^\s()]+)?", expression)
    return _any_of(tokens, allowed=allowed)


def _any_of(tokens: list[str], *, allowed: frozenset[str]) -> bool:
    """Read alternatives off the front of the tokens; in SPDX, AND binds closer than OR."""
    answer = _all_of(tokens, allowed=allowed)
    while tokens and tokens[0] == "OR":
        tokens.pop(0)
        answer |= _all_of(tokens, allowed=allowed)
    return answer


def _all_of(tokens: list[str], *, allowed: frozenset[str]) -> bool:
    answer = _one(tokens, allowed=allowed)
    while tokens and tokens[0] == "AND":
        tokens.pop(0)
        answer &= _one(tokens, allowed=allowed)
    return answer


def _one(tokens: list[str], *, allowed: frozenset[str]) -> bool:
    token = tokens.pop(0)
    if token != "(":  # noqa: S105
        return token in allowed
    answer = _any_of(tokens, allowed=allowed)
    tokens.pop(0)
    return answer


def _option_objections(candidate: Candidate, requirement: ClassRequirement) -> Iterator[Phrase]:
    release, options = candidate.release, requirement.options
    if requirement.capability not in release.provides:
        yield Phrase("is", f"no provider of {requirement.capability}")
    if "collection" in options and str(candidate.package.collection) != options["collection"]:
        yield Phrase("is", f"outside {options['collection']}")
    if "method" in options and release.method != options["method"]:
        yield Phrase("is", f"made by {release.method or 'an unnamed method'}, not {options['method']}")
    if "license" in options and release.license != options["license"]:
        yield Phrase("is", f"licensed {release.license}, not {options['license']}")
    least = parse_share(options["min-f1"]) if "min-f1" in options else None
    most = parse_size(options["max-size"]) if "max-size" in options else None
    yield from filter(None, (_f1_objection(release, least=least), _size_objection(release, most=most)))


def _f1_objection(release: Release, *, least: float | None) -> Phrase | None:
    if least is None:
        return None
    found = release.lower_bound("f1")
    if found is None:
        return Phrase("has", f"no measured F1, and {least:g} is asked for")
    return Phrase("has", f"an F1 of {found:.4g} at worst, below {least:g}") if found < least else None


def _size_objection(release: Release, *, most: int | None) -> Phrase | None:
    if most is None or release.size <= most:
        return None
    return Phrase("takes", f"{release.size} bytes, more than {most}")
