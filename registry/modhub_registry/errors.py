"""Why a request is refused: a status, a code for programs and a sentence for people.

The Hub's clients tell one 404 from another by the code alone, which travels as `X-Error-Code`.
"""

from __future__ import annotations


class Refusal(Exception):
    """An answer other than yes.

    Args:
        status: of HTTP.
        code: one word for programs.
        message: what is wrong, with the value, and what was expected.
    """

    status = 400
    code = "BadRequest"

    def __init__(self, message: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.headers = headers or {}


class Malformed(Refusal):
    """The request cannot be understood."""


class NotSupported(Refusal):
    """The request means something on the Hub that this server does not have."""

    code = "NotSupported"


class InvalidCollection(Refusal):
    """The commit would make a modhub collection invalid."""

    code = "InvalidCollection"


class Unauthorized(Refusal):
    """A token is needed, or the one that was sent is no good."""

    status, code = 401, "Unauthorized"


class Forbidden(Refusal):
    """The token is good, but not for this."""

    status, code = 403, "Forbidden"


class RepoNotFound(Refusal):
    """There is no such repository, or it is not for the one who asks."""

    status, code = 404, "RepoNotFound"


class RevisionNotFound(Refusal):
    """The repository has no such branch, tag or commit."""

    status, code = 404, "RevisionNotFound"


class EntryNotFound(Refusal):
    """The revision has no such file."""

    status, code = 404, "EntryNotFound"


class NoSuchRoute(Refusal):
    """Nothing is at this address."""

    status, code = 404, "NoSuchRoute"


class MethodNotAllowed(Refusal):
    """Something is at this address, but not for this method."""

    status, code = 405, "MethodNotAllowed"


class Taken(Refusal):
    """The name exists already."""

    status, code = 409, "Conflict"


class StaleParent(Refusal):
    """Somebody else committed first."""

    status, code = 412, "StaleParent"


class TooLarge(Refusal):
    """The body, file or repository would exceed a limit."""

    status, code = 413, "TooLarge"


class RangeNotSatisfiable(Refusal):
    """The range lies outside of the file."""

    status, code = 416, "RangeNotSatisfiable"


class TooManyRequests(Refusal):
    """The client asked too often."""

    status, code = 429, "TooManyRequests"
