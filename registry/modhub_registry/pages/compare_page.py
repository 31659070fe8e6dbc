"""The page on which two modules stand side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modhub.errors import InvalidName
from modhub.report.words import byte_size, percent
from modhub.spec.names import PackageId
from modhub_registry.errors import Malformed
from modhub_registry.pages.catalogue import find_release
from modhub_registry.pages.drawing import base_of, has_masks, plan_of
from modhub_registry.pages.figures import sides_picture
from modhub_registry.pages.signature import signing_key
from modhub_registry.pages.words import METRICS, TITLES, metric_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from modhub.spec.index import Release
    from modhub_registry.pages.catalogue import Collection
    from modhub_registry.pages.drawing import Plan
    from modhub_registry.pages.views import Views
    from modhub_registry.routes.asked import Asked, Session

OFFERED = 300
"""Names that the fields offer."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """A module that is compared: its collection and its newest release."""

    collection: Collection
    release: Release

    @property
    def id(self) -> str:
        """Its full name."""
        return str(self.collection.id.package(self.release.name))


class ComparePage:
    """The page, for two modules of any collections that the caller may read."""

    def __init__(self, views: Views) -> None:
        self.views = views

    def compare(self, asked: Asked) -> Response:
        """Show two modules side by side, and what they have in common."""
        names = _names(asked)
        with asked.reading() as session:
            collections = self.views.catalogue.collections(session).collections
            sides = [self._side(session, name) for name in names]
            plan = _plan(session, sides)
        measured = self.views.draughtsman.measured(asked.registry.blobs, plan) if plan else {"problem": ""}
        is_drawn = "problem" not in measured
        return self.views.press.page(
            asked,
            "compare.html",
            here="compare",
            sides=sides,
            offered=_offered(collections)[:OFFERED],
            rows=_rows(sides) if len(sides) == 2 else [],
            verdict=_verdict(sides) if len(sides) == 2 else [],
            picture=sides_picture(measured, names=[side.release.name for side in sides]) if is_drawn else None,
            problem=measured.get("problem", ""),
        )

    def _side(self, session: Session, name: PackageId) -> Side:
        repo = session.repo_named("model", name.collection.owner, name.collection.name)
        collection = self.views.catalogue.collection(session, repo)
        if collection is None:
            raise Malformed(f"{name.collection} is no collection of modules")
        return Side(collection=collection, release=find_release(collection, name.name))


def _names(asked: Asked) -> list[PackageId]:
    """Return the modules that an address names.

    Raises:
        Malformed: a name is none, or there are more than two.
    """
    try:
        names = list(dict.fromkeys(PackageId.parse(name.strip()) for name in asked.queries("m") if name.strip()))
    except InvalidName as error:
        raise Malformed(str(error)) from error
    if len(names) > 2:
        raise Malformed(f"{len(names)} modules were named; expected two")
    return names


def _plan(session: Session, sides: Sequence[Side]) -> Plan | None:
    """Return what to measure of two modules with masks over one base of one collection; None where they are others."""
    if len(sides) < 2 or sides[0].collection.repo.id != sides[1].collection.repo.id:
        return None
    collection, releases = sides[0].collection, [side.release for side in sides]
    if not all(has_masks(release) for release in releases):
        return None
    bases = {base.name + base.version if base else "" for base in (base_of(collection, each) for each in releases)}
    return plan_of(session, collection, releases) if len(bases) == 1 and "" not in bases else None


def _rows(sides: Sequence[Side]) -> list[tuple[str, list[str], bool]]:
    """Return what two modules say of themselves: what it is, what each says, and whether that differs."""
    releases = [side.release for side in sides]
    said = [(TITLES[name], [metric_words(each, name) for each in releases]) for name in METRICS]
    said += [
        ("size", [byte_size(each.size) for each in releases]),
        ("classes", [", ".join(each.classes[:8]) + (", ..." if len(each.classes) > 8 else "") for each in releases]),
        ("version", [each.version for each in releases]),
        ("kind", [each.kind for each in releases]),
        ("method", [each.method or "-" for each in releases]),
        ("licence", [each.terms for each in releases]),
        ("parent", [(each.parent or "-")[:16] for each in releases]),
        ("input", [str(each.input) for each in releases]),
        ("output", [f"{each.semantic}{', calibrated' if each.calibrated else ''}" for each in releases]),
        ("made", [each.created[:10] for each in releases]),
        ("signed by the key", [_key(each) for each in releases]),
        ("state", [_state(each) for each in releases]),
    ]
    return [(title, texts, texts[0] != texts[1]) for title, texts in said if set(texts) != {"-"}]


def _verdict(sides: Sequence[Side]) -> list[str]:
    """Return what follows from two modules' entries, in sentences."""
    first, second = (side.release for side in sides)
    found = [which_is_better(first, second)]
    if first.input.key() == second.input.key():
        found.append("They take the same input, so they fit into one model.")
    else:
        found.append("They take different inputs, so they do not fit into one model.")
    if first.parent and second.parent:
        same = first.parent == second.parent
        found.append("They come from the same parent." if same else "They come from different parents.")
    return [text for text in found if text]


def which_is_better(first: Release, second: Release) -> str:
    """Return which of two releases has the better F1, as far as their intervals say."""
    one, other = first.metrics.get("f1"), second.metrics.get("f1")
    if one is None or other is None:
        return ""
    better, worse = (first, second) if one.value >= other.value else (second, first)
    high, low = better.metrics["f1"], worse.metrics["f1"]
    if set(first.classes) != set(second.classes):
        return "They score different classes, so their F1 are not about the same thing."
    if high.low is None or low.high is None:
        return "Their F1 have no intervals, so which is better is not known."
    if high.low <= low.high:
        return "Their intervals of F1 overlap: neither is measurably better."
    name = f"{better.name} {better.version}"
    return f"{name} is better: its F1 is at least {percent(high.low)}, the other's at most {percent(low.high)}."


def _offered(collections: Sequence[Collection]) -> list[str]:
    return [
        str(collection.id.package(release.name))
        for collection in collections
        for release in collection.newest()
        if release.kind != "base"
    ]


def _key(release: Release) -> str:
    key = signing_key(release)
    return "-" if key is None else key[:16] or "unreadable"


def _state(release: Release) -> str:
    if release.yanked is not None:
        return "yanked"
    return "deprecated" if release.deprecated is not None else "good"
