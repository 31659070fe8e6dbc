"""The page on which modules are chosen, and what comes of it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import StreamingResponse

from modhub.errors import InvalidName
from modhub.report.words import byte_size
from modhub.spec.licences import warnings
from modhub.spec.names import CollectionId, PackageId, slug
from modhub_registry.errors import InvalidCollection, Malformed
from modhub_registry.pages.answers import HEADERS
from modhub_registry.pages.composing import Bench
from modhub_registry.pages.finding import Question, facets_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import IO

    from starlette.responses import Response

    from modhub.spec.index import Release
    from modhub_registry.pages.catalogue import Collection
    from modhub_registry.pages.views import Views
    from modhub_registry.routes.asked import Asked

PICKS = 32
"""Classes and modules of one model that is composed here."""

CLASSES, MODULES = 60, 150
"""Boxes of the page."""

CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What was chosen for a model: the releases, their licences, and what they weigh.

    Args:
        problem: why they do not fit together; empty where they do.
        fetched: bytes of all the files.
        least: bytes of the model's weights if its modules shared all they can.
        most: the same if they shared nothing; None where packages do not say what they keep.
        least_work: multiplications with an addition that one input takes, if modules shared all they can.
        most_work: the same if they shared nothing; None where packages do not say.
        whole_work: the same of the largest parent; 0 where it does not say.
    """

    modules: Sequence[Mapping[str, Any]] = ()
    problem: str = ""
    fetched: int = 0
    least: int = 0
    most: int | None = None
    least_work: float = 0.0
    most_work: float | None = None
    whole_work: float = 0.0
    licenses: Sequence[str] = ()
    warnings: Sequence[str] = ()


class ComposePage:
    """The page, and the archive that it leads to."""

    def __init__(self, views: Views) -> None:
        self.views, self.bench = views, Bench()

    def compose(self, asked: Asked) -> Response:
        """Show what can be chosen, and what was."""
        picks = requirements_of(asked)
        place = asked.query("from")
        with asked.reading() as session:
            collections = self.views.catalogue.collections(session).collections
        listed = [each for each in collections if place in {"", each.repo.full_name}]
        return self.views.press.page(
            asked,
            "compose.html",
            here="compose",
            picks=picks,
            place=place,
            classes=[name for name in _classes(collections) if _has_slug(name)][:CLASSES],
            collections=_boxes(listed),
            unlisted=_unlisted(picks, listed),
            with_classes=not place or any(pick.startswith("class:") for pick in picks),
            slug=slug,
            chosen=self._chosen(asked, picks, collections) if picks else None,
            command=_command(asked, picks),
            most=PICKS,
        )

    def archive(self, asked: Asked) -> Response:
        """Send the composed model with its lock."""
        picks = requirements_of(asked)
        if not picks:
            raise Malformed("nothing was chosen; expected classes or modules")
        with asked.reading():
            # A registry that is private, or a token that is none, ends the request here.
            pass
        file = self.bench.compose(asked, picks)
        headers = {
            **HEADERS,
            "Cache-Control": "private, no-store",
            "Content-Disposition": 'attachment; filename="model.zip"',
        }
        return StreamingResponse(_chunks(file), headers=headers, media_type="application/zip")

    def _chosen(self, asked: Asked, picks: Sequence[str], collections: Sequence[Collection]) -> Chosen:
        try:
            lock = self.bench.resolve(asked, picks)
        except InvalidCollection as error:
            return Chosen(problem=error.message)
        modules = lock["module"]
        licenses = {module["name"]: module["license"] for module in modules}
        known = _known(modules, collections)
        sizes = {each["parent"]: max(file["size"] for file in each["files"]) for each in modules if is_base(each)}
        work = {
            release.parent: release.metrics["macs"].value
            for release in known.values()
            if release.kind == "base" and "macs" in release.metrics
        }
        least, most = _bounds(known.values(), "weights_kept", of=sizes)
        least_work, most_work = _bounds(known.values(), "macs", of=work)
        return Chosen(
            modules=[{**each, "size": sum(file["size"] for file in each["files"])} for each in modules],
            fetched=sum(file["size"] for each in modules for file in each["files"]),
            least=int(least),
            most=None if most is None else int(most),
            least_work=least_work,
            most_work=most_work,
            whole_work=max(work.values(), default=0.0),
            licenses=sorted(set(licenses.values())),
            warnings=warnings(licenses),
        )


def requirements_of(asked: Asked) -> list[str]:
    """Return what an address asks to compose, classes first.

    Raises:
        Malformed: a name is none, or there are too many.
    """
    try:
        classes = [f"class:{slug(name)}" for name in asked.queries("class") if name]
        modules = [str(PackageId.parse(name)) for name in asked.queries("m") if name]
    except InvalidName as error:
        raise Malformed(str(error)) from error
    picks = list(dict.fromkeys([*classes, *modules]))
    if len(picks) > PICKS:
        raise Malformed(f"{len(picks)} modules are chosen, more than {PICKS}: compose them by the command")
    return picks


def is_base(module: Mapping[str, Any]) -> bool:
    """Tell whether an entry of a lock is a parent that modules share."""
    return bool(module["kind"] == "base")


def _known(modules: Sequence[Mapping[str, Any]], collections: Sequence[Collection]) -> dict[str, Release]:
    """Return the releases of a lock by name, as far as they are here."""
    around = {str(collection.id): collection for collection in collections}
    found = {}
    for module in modules:
        package = PackageId.parse(module["name"])
        collection = around.get(str(package.collection))
        release = collection.index.get(package.name, module["version"]) if collection is not None else None
        if release is not None:
            found[module["name"]] = release
    return found


def _bounds(releases: Iterable[Release], share: str, *, of: Mapping[str | None, float]) -> tuple[float, float | None]:
    """Return the least and the most that a model of some modules can have of something, by the share that each keeps.

    Args:
        share: the metric that tells it.
        of: what the parents have of it, by their fingerprints.
    """
    amounts = []
    for release in releases:
        kept = release.metrics.get(share)
        if release.kind == "module" and kept is not None and kept.value <= 1 and release.parent in of:
            amounts.append(kept.value * of[release.parent])
        elif release.kind != "base":
            return 0.0, None
    return (max(amounts), sum(amounts)) if amounts else (0.0, None)


def _unlisted(picks: Sequence[str], listed: Sequence[Collection]) -> list[str]:
    """Return the packages that were chosen and have no box."""
    boxes = {full for _, rows in _boxes(listed) for full, _, _ in rows}
    return [pick for pick in picks if not pick.startswith("class:") and pick not in boxes]


def _boxes(collections: Sequence[Collection]) -> list[tuple[CollectionId, list[tuple[str, str, str]]]]:
    """Return the modules to choose from by their collection: name, label, and what else to say."""
    found, left = [], MODULES
    for collection in collections:
        modules = [release for release in collection.newest() if release.kind == "module"][:left]
        left -= len(modules)
        rows = []
        for release in modules:
            f1 = release.metrics.get("f1")
            quality = f"F1 {100 * f1.value:.0f} %, " if f1 else ""
            rows.append((str(collection.id.package(release.name)), release.name, quality + byte_size(release.size)))
        if rows:
            found.append((collection.id, rows))
    return found


def _classes(collections: Sequence[Collection]) -> list[str]:
    return [name for name, _ in facets_of(collections, Question()).classes]


def _has_slug(name: str) -> bool:
    try:
        return bool(slug(name))
    except InvalidName:
        return False


def _command(asked: Asked, picks: Sequence[str]) -> str:
    return f"modhub compose {shlex.join(picks)} -r {shlex.quote(asked.base_url)} -o model"


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
