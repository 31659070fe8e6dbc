"""How the server is doing: `/healthz` for a proxy, `/metrics` for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from modhub._version import __version__
from modhub_registry.errors import Forbidden
from modhub_registry.routes.asked import Asked, get
from modhub_registry.storage import repos
from modhub_registry.storage.registry import read_audit

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

LINES_AT_ONCE = 1000


def routes() -> list[BaseRoute]:
    """Return the routes."""
    return [
        get("/healthz", healthz),
        get("/metrics", metrics),
        get("/api/modhub", about),
        get("/api/modhub/audit", log),
    ]


def healthz(asked: Asked) -> Response:
    """Say whether the database answers."""
    try:
        with asked.registry.database.reading() as connection:
            connection.execute(text("SELECT 1"))
    except SQLAlchemyError as error:
        return JSONResponse({"status": "down", "database": type(error).__name__}, 503)
    return JSONResponse({"status": "ok"})


def metrics(asked: Asked) -> Response:
    """Give the numbers that were counted since the server started."""
    meters = asked.request.app.state.meters
    with asked.registry.database.reading() as connection:
        meters.repositories.set(repos.count(connection))
    return Response(generate_latest(meters.collected), media_type=CONTENT_TYPE_LATEST)


def about(asked: Asked) -> Response:
    """Say that this is a modhub registry, and what it does to what is uploaded."""
    settings = asked.registry.settings
    limits = settings.limits
    return JSONResponse(
        {
            "name": "modhub registry",
            "version": __version__,
            "private": settings.private,
            "checks": settings.checks,
            "limits": {name: getattr(limits, name) for name in sorted(limits.__dataclass_fields__)},
        }
    )


def log(asked: Asked) -> Response:
    """Give the lines of the log, newest first, to an admin."""
    limit = max(1, min(asked.number("limit", LINES_AT_ONCE), LINES_AT_ONCE))
    with asked.reading() as session:
        token = session.identity.check_known()
        if not session.identity.is_admin:
            raise Forbidden(f"the token of {token.user} has the scope {token.scope!r}, and this takes 'admin'")
        return JSONResponse(read_audit(session.connection, before=asked.number("before", 0), limit=limit))
