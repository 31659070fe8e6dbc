"""What all parts of one model share, or must not share: virtual packages that parts depend on.

=============== ====================================================================================================
``@input``      one contract: kind, element type, layout, shape, range, colour, tokenizer
``@runtime``    one set of operators
``@onnxruntime`` a version that runs all of them
``@semantic``   one kind of score: classes against the rest, or against each other
``@scale``      scores that can be compared: all calibrated, or all of one parent
``@parent``     one parent, where the caller asks for it
``@licence``    a licence that the whole may have
``@class:NAME`` a class is scored by one part
``@precision:X`` of modules of the parent X all are asked for in eight bits, or none: a trunk has one precision
=============== ====================================================================================================

A part accepts some values of each property; parts fit together where some value is accepted by all of them. So parts
that do not fit are told apart, and explained, by the same proof as versions that do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from modhub.resolver.options import REFUSE
from modhub.resolver.phrases import Phrase, listed
from modhub.spec.licences import wholes
from modhub.spec.versions import format_specifier, parse_specifier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.specifiers import SpecifierSet

    from modhub.resolver.catalog import Candidate
    from modhub.resolver.options import Options

CLASS, PRECISION = "class:", "precision:"
INT8 = "int8"
CALIBRATED = "calibrated"

SUMMARIES = {
    "input": "they take different inputs",
    "runtime": "they need different operator sets",
    "onnxruntime": "no ONNX Runtime runs both",
    "semantic": "their outputs mean different things",
    "scale": "their scores cannot be compared",
    "parent": "they come of different parents",
    "licence": "their licences do not go together",
}
OUTPUTS = {"scores": "scores, each class against the rest", "logits": "logits of classes against each other"}


@dataclass(frozen=True)
class Property:
    """Something that the parts of a model share, such as ``input``."""

    name: str

    def __str__(self) -> str:
        """Return the name with the mark of a virtual package."""
        return f"@{self.name}"

    @property
    def is_of_one(self) -> bool:
        """Whether one part alone may have it."""
        return self.name.startswith(CLASS)

    @property
    def is_precision(self) -> bool:
        """Whether it is the precision of the modules of one parent."""
        return self.name.startswith(PRECISION)

    @property
    def summary(self) -> str:
        """What is the matter where parts have no common value."""
        if self.is_of_one:
            return f"both score the class {self.name.removeprefix(CLASS)!r}"
        if self.is_precision:
            return "they are cut from one network, and asked for in different precision"
        return SUMMARIES[self.name]


Accepted: TypeAlias = "frozenset[str] | SpecifierSet"
"""The values that a part accepts: any of some, or the versions of a specifier."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What a part accepts of a property, and how that is said: ``takes image RGB [batch, 3, 32, 32]``."""

    property: Property
    accepted: Accepted
    phrase: Phrase


INPUT, RUNTIME, ONNXRUNTIME = Property("input"), Property("runtime"), Property("onnxruntime")
SEMANTIC, SCALE, PARENT, LICENCE = Property("semantic"), Property("scale"), Property("parent"), Property("licence")


def demands(candidate: Candidate, *, options: Options) -> Iterator[Demand]:
    """Yield what a part accepts of every property that it cares about."""
    if not options.compatible:
        return
    release = candidate.release
    yield Demand(property=INPUT, accepted=frozenset({release.input.key()}), phrase=Phrase("takes", str(release.input)))
    operators = ", ".join(f"{name or 'ai.onnx'} {version}" for name, version in sorted(release.runtime.opset.items()))
    yield Demand(property=RUNTIME, accepted=frozenset({operators}), phrase=Phrase("is", f"written in {operators}"))
    versions = parse_specifier(release.runtime.onnxruntime)
    yield Demand(
        property=ONNXRUNTIME, accepted=versions, phrase=Phrase("needs", f"onnxruntime{format_specifier(versions)}")
    )
    # A composite's scores are those of its modules, side by side.
    kind = "logits" if release.semantic == "logits" else "scores"
    yield Demand(property=SEMANTIC, accepted=frozenset({kind}), phrase=Phrase("returns", OUTPUTS[kind]))
    yield from _scale(candidate, options=options)
    if options.one_parent:
        yield Demand(
            property=PARENT,
            accepted=frozenset({candidate.trunk}),
            phrase=Phrase("is", f"cut from {_parent(candidate)}"),
        )
    yield from _licence(candidate, options=options)
    if release.kind != "base":
        for label in release.classes:
            owner = frozenset({f"{candidate.package} of {candidate.registry}"})
            yield Demand(property=Property(f"{CLASS}{label}"), accepted=owner, phrase=Phrase("scores", label))


def precision_demand(candidate: Candidate, *, variant: str | None) -> Demand:
    """Return in which precision a part is asked for, given the variant that its requirement names."""
    asked = INT8 if variant == INT8 else "float32"
    target = Property(f"{PRECISION}{candidate.trunk}")
    return Demand(property=target, accepted=frozenset({asked}), phrase=Phrase("is", f"asked for in {asked}"))


def demand_on(candidate: Candidate, target: Property, *, options: Options) -> Demand | None:
    """Return what a part accepts of one property, or none where it does not care."""
    return next((each for each in demands(candidate, options=options) if each.property == target), None)


def _scale(candidate: Candidate, *, options: Options) -> Iterator[Demand]:
    """Yield which scores a part's may stand beside; an index does not say it of a composite's, composing checks it."""
    release = candidate.release
    if options.calibrating or release.kind != "module":
        return
    own = f"parent {candidate.trunk}"
    if release.calibrated:
        phrase = Phrase("has", f"calibrated scores and is cut from {_parent(candidate)}")
        yield Demand(property=SCALE, accepted=frozenset({CALIBRATED, own}), phrase=phrase)
    else:
        phrase = Phrase("has", f"no calibrated score, so it goes with modules of {_parent(candidate)} only")
        yield Demand(property=SCALE, accepted=frozenset({own}), phrase=phrase)


def _licence(candidate: Candidate, *, options: Options) -> Iterator[Demand]:
    found = wholes(candidate.release.terms)
    if found is not None and options.policy.licence_conflicts == REFUSE:
        may = f"so the whole may be under {listed(sorted(found), word='or')}" if found else "so no whole may hold it"
        phrase = Phrase("is", f"licensed {candidate.release.terms}, {may}")
        yield Demand(property=LICENCE, accepted=found, phrase=phrase)


def _parent(candidate: Candidate) -> str:
    return f"the network {candidate.trunk[:12]}"
