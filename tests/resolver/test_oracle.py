"""The resolver against brute force, on random small registries.

``MODHUB_STRESS=1`` tries thousands of them instead of hundreds.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from typing import TYPE_CHECKING

from hypothesis import event, given, settings
from hypothesis import strategies as st
from packaging.version import Version

from modhub.resolver.solve import Conflict, Resolution, solve
from modhub.spec.digests import sha256
from modhub.spec.manifest import Dependency
from modhub.spec.requirements import ClassRequirement, PackageRequirement, parse_requirement
from modhub.spec.versions import parse_specifier
from tests.support.catalogs import RUNTIME, Shop, digest_of, files, image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from modhub.resolver.catalog import Candidate, IndexCatalog
    from modhub.spec.names import PackageId
    from modhub.spec.requirements import Requirement

COLLECTIONS = ("a/x", "a/y")
CLASSES = ("cat", "dog", "cow")
VERSIONS = ("1.0.0rc1", "1.0.0", "1.1.0", "2.0.0")
SPECIFIERS = ("", "", ">=1.1.0", "<2", "==1.0.0", ">=1.0.0rc1", ">=3")
LICENCES = ("MIT", "MIT", "MIT", "GPL-2.0-only", "GPL-3.0-only", "GPL-2.0-only OR MIT", "CC-BY-ND-4.0")
RUNTIMES = (">=1.27", ">=1.27", ">=1.27", ">=1.30", "<1.29", "!=1.28.0", "~=1.28.0")
VERSIONS_OF_RUNTIME = ("1.20.0", "1.27.0", "1.28.0", "1.28.1", "1.29.0", "1.30.0")
"""One of every interval that the ends of the specifiers above make."""

EXAMPLES = 20_000 if os.environ.get("MODHUB_STRESS") == "1" else 400


@st.composite
def shops(draw: st.DrawFn) -> Shop:
    """Return two collections with bases and modules that lag behind, and some of everything that goes wrong."""
    shop = Shop()
    some = st.lists(st.sampled_from(VERSIONS), max_size=3, unique=True)
    for home in COLLECTIONS:
        for version in draw(some):
            shop.base(f"{home}/base", version, yanked=draw(st.sampled_from((None, None, None, "leaks"))))
        for name, version in ((name, version) for name in CLASSES for version in draw(some)):
            changes: dict[str, object] = {
                "input": image(draw(st.sampled_from((32, 32, 64)))),
                "yanked": draw(st.sampled_from((None, None, None, None, "wrong"))),
                "semantic": draw(st.sampled_from(("logit", "logit", "scores", "logits"))),
                "calibrated": draw(st.sampled_from((True, True, True, False))),
                "license": draw(st.sampled_from(LICENCES)),
                "runtime": dataclasses.replace(RUNTIME, onnxruntime=draw(st.sampled_from(RUNTIMES))),
                "classes": (draw(st.sampled_from((name, name, name, "cat"))),),
            }
            if draw(st.booleans()):
                changes["dependencies"] = draw(dependencies(home))
                changes["forms"] = files("delta", size=10)
                changes["parent"] = draw(st.sampled_from((None, sha256(f"{home}/base 1.0.0".encode()))))
            shop.add(f"{home}/{name}", version, **changes)
    return shop


@st.composite
def dependencies(draw: st.DrawFn, home: str) -> tuple[Dependency, ...]:
    """Return a dependency on a base, and sometimes one on any module; their digests are mostly right."""
    version = draw(st.sampled_from(VERSIONS))
    digest = digest_of(f"{home}/base", draw(st.sampled_from((version, version, version, "0.0.0"))))
    local = Dependency(package="./base", version=f"=={version}", sha256=digest)
    if draw(st.integers(0, 3)):
        return (local,)
    package = f"{draw(st.sampled_from(COLLECTIONS))}/{draw(st.sampled_from(CLASSES))}"
    other = draw(st.sampled_from(VERSIONS))
    return local, Dependency(package=package, version=">=1.0.0rc1", sha256=digest_of(package, other))


packages_wanted = st.builds(
    lambda home, name, specifier: f"{home}/{name}{specifier}",
    st.sampled_from(COLLECTIONS),
    st.sampled_from((*CLASSES, *CLASSES, "base")),
    st.sampled_from(SPECIFIERS),
)
classes_wanted = st.builds(
    lambda name, options: f"class:{name}{options}",
    st.sampled_from(CLASSES),
    st.sampled_from(("", "", "", "[collection=a/x]", "[method=moda]")),
)
requests = st.lists(packages_wanted | classes_wanted, min_size=1, max_size=4)


def is_early(candidate: Candidate) -> bool:
    """Tell whether a release is a pre-release."""
    return Version(candidate.release.version).is_prerelease


def is_for_anybody(candidate: Candidate) -> bool:
    """Tell whether a release may be part of a model at all."""
    return candidate.release.yanked is None and "-ND-" not in candidate.release.license


def is_base_of(base: Candidate, candidate: Candidate) -> bool:
    """Tell whether a module was cut from a base, as far as anybody knows; any module is as good as another."""
    return base.release.kind != "base" or candidate.release.parent in (None, base.release.parent)


def answers(catalog: IndexCatalog, requirement: Requirement) -> Iterator[Candidate]:
    """Yield what satisfies one requirement, by the letter of the rules."""
    if isinstance(requirement, PackageRequirement):
        for candidate in catalog.releases(requirement.package):
            early = is_early(candidate) and "rc" not in str(requirement.specifier)
            fits = requirement.specifier.contains(candidate.release.version, prereleases=True)
            if fits and not early and is_for_anybody(candidate):
                yield candidate
    elif isinstance(requirement, ClassRequirement):
        home = requirement.options.get("collection")
        for package in catalog.providers(requirement.capability):
            for candidate in catalog.releases(package):
                method = requirement.options.get("method", candidate.release.method)
                fits = home in (None, str(package.collection)) and method == candidate.release.method
                if fits and not is_early(candidate) and is_for_anybody(candidate):
                    yield candidate


def closure(catalog: IndexCatalog, parts: Iterable[Candidate]) -> dict[PackageId, Candidate] | None:
    """Return parts with everything they need, or None where two versions of one package or a gap would result."""
    chosen: dict[PackageId, Candidate] = {}
    pending = list(parts)
    while pending:
        candidate = pending.pop()
        if chosen.setdefault(candidate.package, candidate) != candidate:
            return None
        for need in candidate.release.dependencies if "delta" in candidate.release.forms else ():
            package, specifier = need.package_in(candidate.package.collection), parse_specifier(need.version)
            found = [
                each
                for each in catalog.releases(package)
                if each.release.manifest.sha256 == need.sha256
                and specifier.contains(each.release.version, prereleases=True)
                and is_for_anybody(each)
                and is_base_of(each, candidate)
            ]
            if not found:
                return None
            pending += [found[0]] if chosen.get(package) != found[0] else []
    return chosen


def fit_together(parts: Sequence[Candidate]) -> bool:
    """Tell whether one model can be made of these."""
    inputs = {part.release.input.key() for part in parts}
    kinds = {part.release.semantic == "logits" for part in parts}
    return len(inputs) <= 1 and len(kinds) <= 1 and all(rule(parts) for rule in (comparable, free, runnable, distinct))


def comparable(parts: Sequence[Candidate]) -> bool:
    """Tell whether all modules are calibrated, or all of one parent."""
    modules = [part for part in parts if part.release.kind == "module"]
    return all(each.release.calibrated for each in modules) or len({each.trunk for each in modules}) == 1


def free(parts: Sequence[Candidate]) -> bool:
    """Tell whether a licence can be found for the whole; of the ones above, two exclude each other."""
    return not {"GPL-2.0-only", "GPL-3.0-only"} <= {part.release.license for part in parts}


def runnable(parts: Sequence[Candidate]) -> bool:
    """Tell whether some ONNX Runtime runs all parts."""
    needed = [parse_specifier(part.release.runtime.onnxruntime) for part in parts]
    return any(all(each.contains(version) for each in needed) for version in VERSIONS_OF_RUNTIME)


def distinct(parts: Sequence[Candidate]) -> bool:
    """Tell whether every class is scored by one package."""
    owners: dict[str, set[PackageId]] = {}
    for part in parts:
        for label in part.release.classes if part.release.kind != "base" else ():
            owners.setdefault(label, set()).add(part.package)
    return all(len(found) == 1 for found in owners.values())


def has_answer(catalog: IndexCatalog, requirements: Iterable[Requirement]) -> bool:
    """Tell by trying everything whether requirements can be satisfied together."""
    options = [list(answers(catalog, requirement)) for requirement in requirements]
    return any(fit_together(parts) and closure(catalog, parts) for parts in itertools.product(*options) if parts)


@settings(max_examples=EXAMPLES)
@given(shops(), requests)
def test_the_resolver_agrees_with_brute_force(shop: Shop, texts: list[str]) -> None:
    catalog, requirements = shop.catalog(), [parse_requirement(text) for text in texts]
    answer = solve(catalog, requirements)
    event(type(answer).__name__)
    if isinstance(answer, Resolution):
        check_resolution(catalog, requirements, answer)
    else:
        check_conflict(catalog, requirements, answer)


def check_resolution(catalog: IndexCatalog, requirements: list[Requirement], answer: Resolution) -> None:
    """Check that an answer satisfies everything, and holds nothing that nobody needs."""
    for requirement, part in zip(requirements, answer.parts, strict=True):
        assert part in list(answers(catalog, requirement))
        assert answer.chosen[part.package] == part
    assert fit_together(answer.parts)
    assert answer.chosen == closure(catalog, answer.parts)
    assert all(answer.why(package) for package in answer.chosen)


def check_conflict(catalog: IndexCatalog, requirements: list[Requirement], answer: Conflict) -> None:
    """Check that a conflict is one, that it is as narrow as can be, and that its advice helps."""
    assert not has_answer(catalog, answer.requirements)
    for left_out in answer.requirements if len(answer.requirements) > 1 else ():
        assert has_answer(catalog, [each for each in answer.requirements if each != left_out])
    assert answer.facts
    for suggestion in (each for each in answer.suggestions if not each.note):
        new = [parse_requirement(suggestion.use)] if suggestion.use else []
        kept = [each for each in requirements if str(each) != suggestion.instead_of]
        assert has_answer(catalog, [*kept, *new])
