"""Whose key signed a release, as far as a page can say without being told whom to trust."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from modhub.package.signing import SIGNATURE_BYTES, SIGNATURE_KEY

if TYPE_CHECKING:
    from modhub.spec.index import Release

DIGEST = re.compile("[0-9a-f]{64}")


def signing_key(release: Release) -> str | None:
    """Return the digest of the key that a release says it was signed with; empty if unreadable, None if unsigned.

    Nothing is proven by that: `modhub verify` and `modhub install` check signatures, by the keys their user trusts.
    """
    signature = release.extra.get(SIGNATURE_KEY)
    if signature is None:
        return None
    try:
        if not isinstance(signature, str) or len(signature) > SIGNATURE_BYTES:
            return ""
        document: Any = json.loads(signature)
        hint = document["verificationMaterial"]["publicKey"]["hint"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return hint if isinstance(hint, str) and DIGEST.fullmatch(hint) else ""
