"""The application: a list of routes, and what goes around each of them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio.to_thread
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.middleware import Middleware

from modhub.errors import HubError
from modhub_registry.around import Counted, Drain, RateLimit, RawPath, handlers
from modhub_registry.guesses import Guesses
from modhub_registry.meters import Meters
from modhub_registry.pages import routes as catalogue
from modhub_registry.routes import account, commit, download, look, manage, status, upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.routing import BaseRoute

    from modhub_registry.storage.registry import Registry

THREADS = 40
"""Requests that are answered at a time; the others wait their turn."""

TIDY_SECONDS = 10.0
"""How often counted downloads reach the database."""

CLEAN_EVERY = 360
"""How many of those times pass between two looks for what uploads left."""


log = logging.getLogger("modhub.registry")


class KindConvertor(Convertor[str]):
    """The part of an address that says what sort of repository it is about."""

    regex = "models|datasets|spaces"

    def convert(self, value: str) -> str:
        """Return it as it is."""
        return value

    def to_string(self, value: str) -> str:
        """Return it as it is."""
        return value


register_url_convertor("kind", KindConvertor())


def hub_routes() -> list[BaseRoute]:
    """Return the routes of the Hub's protocol, and those on how the server is doing."""
    return [route for part in (status, account, manage, look, commit, upload, download) for route in part.routes()]


def create_app(registry: Registry, *, pages: Sequence[BaseRoute] = ()) -> Starlette:
    """Return the application of a registry.

    Args:
        pages: routes of pages for people, which come first.
    """
    meters = Meters()

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        tidying = asyncio.create_task(_tidy(registry))
        yield
        tidying.cancel()
        with suppress(asyncio.CancelledError):
            await tidying
        await run_in_threadpool(registry.close)

    app = Starlette(
        routes=[*pages, *hub_routes(), *catalogue.routes()],
        middleware=[
            Middleware(RawPath),
            Middleware(Counted, meters=meters),
            Middleware(Drain),
            Middleware(RateLimit, per_minute=registry.settings.limits.requests_per_minute),
            Middleware(Guesses, wrong_tokens=registry.settings.limits.wrong_tokens),
        ],
        exception_handlers=handlers(),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.registry, app.state.meters = registry, meters
    return app


async def _tidy(registry: Registry) -> None:
    """Write counted downloads now and then, and forget what uploads left that never ended."""
    for turn in range(1 << 62):
        if turn % CLEAN_EVERY == 0:
            await run_in_threadpool(_clean, registry)
        await asyncio.sleep(TIDY_SECONDS)
        await run_in_threadpool(_write_downloads, registry)


def _write_downloads(registry: Registry) -> None:
    """Write what was counted; where the database is away, the next time will do."""
    try:
        registry.write_downloads()
    except SQLAlchemyError as error:
        log.warning("downloads are not written yet: %s", type(error).__name__)


def _clean(registry: Registry) -> None:
    """Forget what uploads left; where the store is away, the next time will do."""
    try:
        registry.blobs.clean()
    except HubError as error:
        log.warning("nothing is cleaned up yet: %s", error)
