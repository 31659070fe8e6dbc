"""Why a release is no answer: each rule refuses with the phrase that explains it, or has no objection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.resolver.options import REFUSE
from modhub.resolver.phrases import Phrase, listed
from modhub.resolver.properties import INT8
from modhub.spec.licences import LEVELS, permits, terms_of
from modhub.spec.requirements import ClassRequirement, PackageRequirement, parse_share, parse_size
from modhub.spec.versions import format_specifier, parse_specifier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.specifiers import SpecifierSet

    from modhub.resolver.catalog import Candidate
    from modhub.resolver.options import Options, Policy
    from modhub.spec.index import Release
    from modhub.spec.provenance import Runtime


def general_objection(candidate: Candidate, *, options: Options) -> Phrase | None:
    """Return why nobody may choose a release, or none: it is yanked, or the policy forbids it."""
    if candidate.release.yanked is not None and not is_pinned(candidate, options=options):
        return Phrase("is", f"yanked ({candidate.release.yanked})" if candidate.release.yanked else "yanked")
    if options.compatible and (phrase := _derivation_objection(candidate.release, policy=options.policy)):
        return phrase
    return policy_objection(candidate.release, policy=options.policy)


def policy_objection(release: Release, *, policy: Policy) -> Phrase | None:
    """Return what the policy has against a release, or none."""
    if policy.licenses is not None and not permits(release.terms, allowed=policy.licenses):
        return Phrase("is", f"licensed {release.terms}, which the policy does not allow")
    if policy.runtime is not None and (phrase := _runtime_objection(release.runtime, newest=policy.runtime)):
        return phrase
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
    return _variant_objection(release, variant=requirement.variant) or early_objection(
        candidate, options=options, specifier=specifier
    )


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


def _option_objections(candidate: Candidate, requirement: ClassRequirement) -> Iterator[Phrase]:
    release, options = candidate.release, requirement.options
    if requirement.capability not in release.provides:
        yield Phrase("is", f"no provider of {requirement.capability}")
    if "collection" in options and str(candidate.package.collection) != options["collection"]:
        yield Phrase("is", f"outside {options['collection']}")
    if "method" in options and release.method != options["method"]:
        yield Phrase("is", f"made by {release.method or 'an unnamed method'}, not {options['method']}")
    if "license" in options and not _is_licensed(release, asked=options["license"]):
        yield Phrase("is", f"licensed {release.terms}, not {options['license']}")
    least = parse_share(options["min-f1"]) if "min-f1" in options else None
    most = parse_size(options["max-size"]) if "max-size" in options else None
    variant = _variant_objection(release, variant=requirement.variant)
    metric = "int8_f1" if requirement.variant == INT8 else "f1"
    measured = _f1_objection(release, least=least, metric=metric)
    yield from filter(None, (measured, _size_objection(release, most=most), variant))


def _is_licensed(release: Release, *, asked: str) -> bool:
    return release.license == asked or (asked in LEVELS and permits(release.terms, allowed=frozenset({asked})))


def _variant_objection(release: Release, *, variant: str | None) -> Phrase | None:
    if variant is None or variant in release.forms:
        return None
    return Phrase("comes", f"as {listed(sorted(release.forms))} only")


def _derivation_objection(release: Release, *, policy: Policy) -> Phrase | None:
    if policy.licence_conflicts != REFUSE or not terms_of(release.terms).no_derivatives:
        return None
    return Phrase("is", f"licensed {release.terms}, which forbids derived works, and a composed model is one")


def _runtime_objection(needed: Runtime, *, newest: Runtime) -> Phrase | None:
    """Return what a release needs that the runtime lacks: an operator set, or how the graph is written."""
    for domain, version in sorted(needed.opset.items()):
        known = newest.opset.get(domain)
        if known is None:
            return Phrase("needs", f"the operators of {domain}, which the runtime does not have")
        if version > known:
            return Phrase("needs", f"the operator set {domain or 'ai.onnx'} {version}, and the runtime has {known}")
    if needed.ir_version > newest.ir_version:
        return Phrase("needs", f"ONNX IR {needed.ir_version}, and the runtime reads {newest.ir_version}")
    return None


def _f1_objection(release: Release, *, least: float | None, metric: str = "f1") -> Phrase | None:
    if least is None:
        return None
    found = release.lower_bound(metric)
    if found is None:
        return Phrase("has", f"no measured F1, and {least:g} is asked for")
    return Phrase("has", f"an F1 of {found:.4g} at worst, below {least:g}") if found < least else None


def _size_objection(release: Release, *, most: int | None) -> Phrase | None:
    if most is None or release.size <= most:
        return None
    return Phrase("takes", f"{release.size} bytes, more than {most}")
