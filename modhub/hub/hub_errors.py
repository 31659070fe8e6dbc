"""What the errors of the Hub's client mean here.

That client raises its own errors, those of the HTTP library beneath it, which changed its name between versions, and
plain ones; each is told once, with the registry and what was asked of it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from modhub.errors import AccessDenied, HubError, ModhubError, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which the same question may be asked again."""

REFUSED = frozenset({401, 403})
CONFLICT = frozenset({409, 412})


@contextmanager
def translated(what: str, *, registry: str) -> Iterator[None]:
    """Turn the client's errors into ours.

    Raises:
        NotFound: there is no such repository, revision or file, or it is not shown to us.
        AccessDenied: the registry wants a token, another one, or the owner's consent.
        HubError: it cannot be reached, or refuses.
    """
    try:
        yield
    except Exception as error:
        if not is_of_client(error):
            raise
        raise hub_error(error, what=what, registry=registry) from error


def is_of_client(error: Exception) -> bool:
    """Tell whether an error is one that the Hub's client raises, and none of ours."""
    kinds = (OSError, RuntimeError, ValueError, _http_error())
    return isinstance(error, kinds) and not isinstance(error, ModhubError)


def hub_error(error: Exception, *, what: str, registry: str) -> HubError:
    """Return our error for one of the client's."""
    from huggingface_hub import errors

    status, said = status_of(error), _said(error)
    place = f"{what} in {registry}"
    if isinstance(error, errors.GatedRepoError):
        return AccessDenied(f"{place} is gated: its owner has to let you in ({said})")
    if isinstance(error, errors.RepositoryNotFoundError) or status == 404:
        return NotFound(f"{place} is not there, or not shown to you; log in if it is private")
    if status in REFUSED:
        return AccessDenied(f"{registry} refuses {what}: {said}")
    if status == 429:
        return HubError(f"{registry} gets too many requests: {said}")
    if status is not None:
        return HubError(f"{registry} refuses {what} with status {status}: {said}")
    return HubError(f"{registry} cannot be reached for {what}: {said}")


def status_of(error: BaseException | None) -> int | None:
    """Return the status of the answer behind an error, None where there was no answer."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
        error = error.__cause__
    return None


def is_transient(error: BaseException) -> bool:
    """Tell whether asking again may help: the connection broke, or the server is busy or ill."""
    status = status_of(error)
    if status is not None:
        return status in TRANSIENT
    causes = [error, error.__cause__, error.__context__]
    return any(isinstance(cause, (_http_error(), ConnectionError, TimeoutError)) for cause in causes)


def is_unreachable(error: BaseException) -> bool:
    """Tell whether no connection could be made."""
    return type(error).__name__ == "ConnectError"


def retry_after_s(error: BaseException) -> float:
    """Return the seconds that a server asks to wait, 0 where it does not say."""
    headers: Any = getattr(getattr(error, "response", None), "headers", {})
    try:
        return max(0.0, float(headers.get("Retry-After", 0)))
    except ValueError:
        return 0.0


def _http_error() -> type[Exception]:
    """Return the base of all errors of the HTTP library that the client uses."""
    from huggingface_hub import errors

    # The library is called httpx beneath version 1 of the client, httpx2 beneath version 2.
    return next(base for base in errors.HfHubHTTPError.__mro__[1:] if base.__module__.startswith("httpx"))


def _said(error: Exception) -> str:
    """Return what a server or the system said, on one line."""
    response = getattr(error, "response", None)
    header = response.headers.get("X-Error-Message") if response is not None else None
    said = header or getattr(error, "server_message", None) or str(error) or type(error).__name__
    return " ".join(said.split())
