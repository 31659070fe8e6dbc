"""Links for uploads: who has one may send that very content to that repository, and nothing else, for a while.

The Hub's clients call them without their token, so the link itself says what it allows, signed by the server.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import asdict, dataclass

from modhub_registry.errors import Forbidden


@dataclass(frozen=True, kw_only=True)
class Permit:
    """What a link allows.

    Args:
        repo: the number of the repository.
        oid: the SHA-256 of the whole content.
        size: of what is sent by this link, in bytes.
        user: on whose behalf, and by which token.
        until: seconds since 1970.
        upload: names an upload in parts; empty for one in a piece.
        part: the number of the part; 0 to put the parts together.
    """

    repo: int
    oid: str
    size: int
    user: str
    token: str
    until: int
    upload: str = ""
    part: int = 0


def sign(permit: Permit, secret: bytes) -> str:
    """Return a permit as a text for a link."""
    body = base64.urlsafe_b64encode(json.dumps(list(asdict(permit).values())).encode()).decode().rstrip("=")
    return f"{body}.{_signature(body, secret)}"


def open_permit(text: str, secret: bytes) -> Permit:
    """Return the permit that a text from a link is.

    Raises:
        Forbidden: the server did not sign it, or its time is over.
    """
    body, _, signature = text.partition(".")
    if not hmac.compare_digest(signature.encode("utf-8", "replace"), _signature(body, secret).encode()):
        raise Forbidden("this link for an upload is not signed by this server")
    fields = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    permit = Permit(**dict(zip(Permit.__dataclass_fields__, fields, strict=True)))
    if time.time() > permit.until:
        raise Forbidden("this link for an upload has expired: ask for a new one")
    return permit


def _signature(body: str, secret: bytes) -> str:
    return hmac.new(secret, body.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
