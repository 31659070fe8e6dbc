"""Who am I, and what is asked before an upload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from modhub_registry.auth.tokens import READ
from modhub_registry.checks.card import problem_of
from modhub_registry.routes.asked import Asked, get, send, text_field

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from modhub_registry.auth.tokens import Token


def routes() -> list[BaseRoute]:
    """Return the routes."""
    return [
        get("/api/whoami-v2", whoami),
        send("POST", "/api/validate-yaml", validate_yaml),
    ]


def whoami(asked: Asked) -> Response:
    """Say whose token it is, and what it may do."""
    with asked.reading() as session:
        token = session.identity.check_known()
    orgs = [_organisation(owner, token) for owner in token.owners if owner != token.user]
    role = READ if token.scope == READ else "write"
    return JSONResponse(
        {
            "type": "user",
            "id": token.user,
            "name": token.user,
            "fullname": token.user,
            "isPro": False,
            "avatarUrl": "",
            "orgs": orgs,
            "auth": {"type": "access_token", "accessToken": {"displayName": token.label or token.id, "role": role}},
        }
    )


def validate_yaml(asked: Asked) -> Response:
    """Say whether the card of a repository can be read."""
    with asked.reading():
        problem = problem_of(text_field(asked.json(), "content").encode("utf-8", "replace"))
    if not problem:
        return JSONResponse({"errors": [], "warnings": []})
    headers = {"X-Error-Code": "BadRequest", "X-Error-Message": "the card cannot be read"}
    return JSONResponse({"errors": [{"message": problem}], "warnings": []}, 400, headers)


def _organisation(owner: str, token: Token) -> dict[str, object]:
    return {
        "type": "org",
        "id": owner,
        "name": owner,
        "fullname": owner,
        "isEnterprise": False,
        "avatarUrl": "",
        "roleInOrg": READ if token.scope == READ else "write",
    }
