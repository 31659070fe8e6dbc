"""The pages on how to use the registry: by commands, and by its HTTP interface, which is told from the code itself."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from modhub_registry import errors
from modhub_registry.pages.try_page import RUNTIME_FILES, WEB_FOLDER
from modhub_registry.routes import account, commit, download, look, manage, status, upload
from modhub_registry.settings import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from starlette.responses import Response

    from modhub_registry.pages.views import Views
    from modhub_registry.routes.asked import Asked

PARTS = (look, download, commit, upload, manage, account, status)


@dataclass(frozen=True, kw_only=True)
class Told:
    """A route in words: its methods, its address, and what it does."""

    methods: str
    path: str
    does: str


class GuidePage:
    """The two pages."""

    def __init__(self, views: Views) -> None:
        self.views = views

    def guide(self, asked: Asked) -> Response:
        """Show how to find, use and publish modules, with this registry's address in every command."""
        with asked.reading() as session:
            collections = self.views.catalogue.collections(session).collections
        names = [
            f"{collection.id}/{release.name}"
            for collection in collections[:1]
            for release in collection.newest()
            if release.kind == "module"
        ]
        return self.views.press.page(
            asked,
            "guide.html",
            here="guide",
            names=[*names, "owner/collection/cat", "owner/collection/dog"][:2] if len(names) < 2 else names[:2],
            files=list(RUNTIME_FILES),
            folder=WEB_FOLDER,
        )

    def api(self, asked: Asked) -> Response:
        """Show every route of the HTTP interface, every error and every limit."""
        with asked.reading():
            limits = asked.registry.settings.limits
        return self.views.press.page(
            asked,
            "api.html",
            here="api",
            parts=[(first_line(part.__doc__), list(told(part))) for part in PARTS],
            errors=_errors(),
            limits=_limits(limits),
        )


def told(part: ModuleType) -> Iterator[Told]:
    """Yield the routes of a module in words; those that differ by the sort of repository alone are told once."""
    seen = set()
    for route in part.routes():
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", str(route.path))
        methods = ", ".join(sorted(set(route.methods) - {"HEAD"} or {"HEAD"}))
        short = (methods, path.removeprefix("/{kind}"), route.name)
        if short not in seen:
            seen.add(short)
            # The routes of files are one view, which they do not name.
            view = getattr(part, route.name, download.resolve)
            yield Told(methods=methods, path=path, does=first_line(view.__doc__))


def first_line(text: str | None) -> str:
    """Return what a docstring says first."""
    return (text or "").strip().partition("\n")[0]


def _errors() -> list[tuple[int, str, str]]:
    """Return every error: its status, its code for programs, and when it comes."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.Refusal)]
    found = {(kind.status, kind.code): first_line(kind.__doc__) for kind in kinds if kind is not errors.Refusal}
    return sorted((status_code, code, text) for (status_code, code), text in found.items())


def _limits(limits: Limits) -> list[tuple[str, str, str]]:
    """Return what each limit is called, what it is of, from the words of its own description, and how high it is."""
    described = dict(re.findall(r"^\s+(\w+): (.+?)$", Limits.__doc__ or "", flags=re.MULTILINE))
    return [
        (each.name.replace("_", " "), described.get(each.name, "").rstrip("."), _amount(each.name, limits))
        for each in fields(limits)
    ]


def _amount(name: str, limits: Limits) -> str:
    value: int = getattr(limits, name)
    if not name.endswith("_bytes"):
        unit = " s" if name.endswith("_seconds") else ""
        return f"{value:,}{unit}" if value else "no limit"
    for size, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= size and value % size == 0:
            return f"{value // size:,} {unit}"
    return f"{value:,} bytes" if value else "no limit"
