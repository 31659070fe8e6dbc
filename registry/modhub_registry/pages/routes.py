"""The addresses of the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import Response
from starlette.routing import Route

from modhub.errors import FormatError
from modhub_registry.errors import NoSuchRoute, NotSupported, Refusal
from modhub_registry.pages.answers import FOR_EVER, HEADERS
from modhub_registry.pages.compare_page import ComparePage
from modhub_registry.pages.compose_page import ComposePage
from modhub_registry.pages.guide_page import GuidePage
from modhub_registry.pages.try_page import TryPage
from modhub_registry.pages.views import Views
from modhub_registry.routes.asked import Asked
from modhub_registry.storage.repos import RESERVED_OWNERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.routing import BaseRoute


class OwnerConvertor(Convertor[str]):
    """The first part of a collection's address, which is no address of the server itself."""

    regex = rf"(?!(?:{'|'.join(sorted(RESERVED_OWNERS))})(?:/|$))[^/]+"

    def convert(self, value: str) -> str:
        """Return it as it is."""
        return value

    def to_string(self, value: str) -> str:
        """Return it as it is."""
        return value


register_url_convertor("owner", OwnerConvertor())

COLLECTION = "/{owner:owner}/{name}"


def routes() -> list[BaseRoute]:
    """Return the routes of the pages, which come after those of the Hub's protocol."""
    views = Views()
    composing, trying, guides = ComposePage(views), TryPage(views), GuidePage(views)

    def page(path: str, view: Callable[[Asked], Response]) -> Route:
        def endpoint(request: Request) -> Response:
            asked = Asked(request)
            try:
                return view(asked)
            except Refusal as error:
                return views.press.refused(asked, error)
            except FormatError as error:
                return views.press.refused(asked, Unreadable(f"what was published cannot be read: {error}"))

        return Route(path, endpoint, methods=["GET"], name=view.__name__)

    def static(asked: Asked) -> Response:
        found = views.press.assets.get(asked.part("file"))
        if found is None:
            raise NoSuchRoute(f"nothing is at {asked.request.url.path[:200]!r}")
        data, kind = found
        headers = {**HEADERS, "Cache-Control": FOR_EVER, "Content-Type": kind}
        return Response(data, headers=headers)

    return [
        page("/", views.start),
        page("/static/{file}", static),
        page("/catalog/compose", composing.compose),
        page("/static/runtime/{file}", trying.runtime),
        page("/catalog/try", trying.try_model),
        page("/catalog/compare", ComparePage(views).compare),
        page("/catalog/guide", guides.guide),
        page("/catalog/api", guides.api),
        page("/catalog/compose.zip", composing.archive),
        page(COLLECTION, views.collection),
        page(COLLECTION + "/{package}", views.module),
        page(COLLECTION + "/{package}/{version}", views.module),
    ]


class Unreadable(NotSupported):
    """What was published is of a format that this server does not know."""

    status = 501
