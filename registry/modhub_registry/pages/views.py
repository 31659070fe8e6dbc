"""What the pages tell: each view reads within one transaction and returns a page."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from modhub.spec import limits
from modhub.spec.manifest import Manifest
from modhub.spec.releases import newest_releases
from modhub_registry.checks.card import CARD_FILE
from modhub_registry.errors import EntryNotFound
from modhub_registry.pages.answers import Press
from modhub_registry.pages.card import card_html
from modhub_registry.pages.catalogue import Catalogue, Collection, find_release, read, release_files
from modhub_registry.pages.drawing import DRAWN_MODULES, Draughtsman, over_one_base, plan_of
from modhub_registry.pages.figures import kept_picture, overlap_picture
from modhub_registry.pages.finding import Question, facets_of, find
from modhub_registry.pages.pager import part_of
from modhub_registry.pages.signature import signing_key
from modhub_registry.pages.words import SHARES, TITLES, metric_rows
from modhub_registry.storage import history
from modhub_registry.storage.trees import File

if TYPE_CHECKING:
    from starlette.responses import Response

    from modhub.spec.index import Release
    from modhub_registry.routes.asked import Asked, Session

HITS, ROWS, RELEASES, OPTIONS, DEPENDENTS = 25, 50, 30, 60, 50
"""Items of one page: modules that were found, modules of a collection, releases, choices of a facet, dependents."""

CARD_BYTES = 128 << 10
"""Bytes of a card that are looked at."""


class Views:
    """The pages of one registry."""

    def __init__(self) -> None:
        self.press, self.catalogue, self.draughtsman = Press(), Catalogue(), Draughtsman()

    def start(self, asked: Asked) -> Response:
        """Show what there is, and find modules in it."""
        question = Question.of(asked)
        with asked.reading() as session:
            looked = self.catalogue.collections(session)
        hits = find(looked.collections, question)
        facets = facets_of(looked.collections, question)
        return self.press.page(
            asked,
            "start.html",
            here="start",
            question=question,
            facets=facets,
            options=OPTIONS,
            hits=part_of(asked, hits, size=HITS),
            collections=[(each, _about(each)) for each in looked.collections[:HITS]] if question.is_empty else [],
            looked=looked,
        )

    def collection(self, asked: Asked) -> Response:
        """Show a collection: what its modules score, what they have in common, and every release."""
        with asked.reading() as session:
            collection, card = self._collection(session)
            if collection is None:
                repo = session.repo()
                return self.press.page(asked, "plain.html", here="", repo=repo, card=card, changed=day(repo.updated_at))
            modules = over_one_base(collection)
            plan = plan_of(session, collection, modules) if len(modules) > 1 else None
        measured = self.draughtsman.measured(asked.registry.blobs, plan)
        drawn = modules[:DRAWN_MODULES]
        names = [release.name for release in drawn]
        picture = None if "problem" in measured else overlap_picture(measured, names=names)
        newest = collection.newest()
        shown = modules + [release for release in newest if release not in modules and release.kind != "base"]
        releases = sorted(collection.index.releases, key=lambda each: (each.created, each.number), reverse=True)
        return self.press.page(
            asked,
            "collection.html",
            here="",
            collection=collection,
            about=_about(collection),
            bases=[release for release in newest if release.kind == "base"],
            modules=part_of(asked, shown, size=ROWS),
            columns=[name for name in SHARES if any(name in release.metrics for release in shown)],
            titles=TITLES,
            releases=part_of(asked, releases, size=RELEASES, name="releases"),
            picture=picture,
            drawn=len(drawn),
            all_drawn=len(modules),
            problem=measured.get("problem", "") if len(modules) > 1 else "",
            card=card,
            command=_compose_command(asked, collection, shown[:2]),
        )

    def module(self, asked: Asked) -> Response:
        """Show a package: how good it is, what it keeps, needs and takes, and how to use it."""
        with asked.reading() as session:
            collection, _ = self._collection(session)
            if collection is None:
                raise EntryNotFound(f"{session.repo().full_name} is no collection of modules")
            release = find_release(collection, asked.part("package"), asked.part("version"))
            found = release_files(session, collection, release)
            manifest = Manifest.from_json(read(session, found["module.json"], limit=limits.MANIFEST_BYTES))
            card = _card(session, found.get(CARD_FILE))
            dependents = self._dependents(session, collection, release)
            plan = plan_of(session, collection, [release])
        measured = self.draughtsman.measured(asked.registry.blobs, plan) if plan else {"problem": ""}
        versions = collection.index.find(release.name)
        newest = newest_releases(versions)
        return self.press.page(
            asked,
            "module.html",
            here="",
            collection=collection,
            release=release,
            manifest=manifest,
            newest=newest[0] if newest else None,
            versions=part_of(asked, versions[::-1], size=RELEASES, name="versions"),
            files=sorted(found.items()),
            picture=None if "problem" in measured else kept_picture(measured, name=release.name),
            problem=measured.get("problem", ""),
            metrics=metric_rows(release),
            titles=TITLES,
            needs=[(need, str(need.package_in(collection.id))) for need in release.dependencies],
            dependents=dependents[:DEPENDENTS],
            more_dependents=len(dependents) - DEPENDENTS,
            card=card,
            key=signing_key(release),
            rival=next((f"{collection.id}/{other.name}" for other in _others(collection, release)), ""),
            install=_command(asked, "install", collection, release),
            compose=_compose_command(asked, collection, [release, *_others(collection, release)][:2]),
        )

    def _collection(self, session: Session) -> tuple[Collection | None, Any]:
        repo = session.repo()
        collection = self.catalogue.collection(session, repo)
        commit = history.resolve(session.connection, repo, history.MAIN)
        file = session.asked.registry.trees.find(session.connection, commit.tree, CARD_FILE)
        return collection, _card(session, file if isinstance(file, File) else None)

    def _dependents(self, session: Session, collection: Collection, release: Release) -> list[str]:
        """Return the packages whose newest release depends on a package, in what the caller may read."""
        wanted = collection.id.package(release.name)
        others = self.catalogue.collections(session).collections
        around = [collection, *(each for each in others if each.repo.id != collection.repo.id)]
        return [
            f"{each.id}/{other.name}"
            for each in around
            for other in each.newest()
            if any(need.package_in(each.id) == wanted for need in other.dependencies)
        ]


def day(milliseconds: int) -> str:
    """Return the day of a time."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d")


def _about(collection: Collection) -> dict[str, Any]:
    """Return a collection in numbers."""
    newest = collection.newest()
    bases = [release for release in newest if release.kind == "base"]
    modules = [release for release in newest if release.kind != "base"]
    accuracy = bases[0].metrics.get("accuracy") if bases else None
    return {
        "modules": len(modules),
        "classes": sorted({label for release in modules for label in release.classes}),
        "methods": sorted({release.method for release in modules if release.method}),
        "licenses": sorted({release.terms for release in newest}),
        "size": sum(release.size for release in newest),
        "base_size": sum(release.size for release in bases),
        "accuracy": accuracy,
        "changed": day(collection.repo.updated_at),
        "summary": collection.index.summary or (bases[0].summary if bases else ""),
    }


def _card(session: Session, file: File | None) -> Any:
    if file is None:
        return None
    html, is_all = card_html(read(session, file, limit=CARD_BYTES))
    return {"html": html, "is_all": is_all and file.size <= CARD_BYTES}


def _others(collection: Collection, release: Release) -> list[Release]:
    return [other for other in over_one_base(collection) if other.name != release.name]


def _command(asked: Asked, verb: str, collection: Collection, release: Release) -> str:
    return f"modhub {verb} {collection.id}/{release.name}=={release.version} -r {shlex.quote(asked.base_url)}"


def _compose_command(asked: Asked, collection: Collection, modules: list[Release]) -> str:
    names = " ".join(f"{collection.id}/{release.name}" for release in modules)
    return f"modhub compose {names} -r {shlex.quote(asked.base_url)} -o model" if modules else ""
