"""Reading from a server that speaks the Hub's protocol: bounded, retried, files resumed by Range, nothing cached.

The Hub's own client keeps what it fetches in a cache that does not tell endpoints apart, trusts sizes, and waits for
ever for an answer. Here bytes go where their digest is checked, over the connections of that client.
"""

from __future__ import annotations

import json
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

from modhub.errors import HubError, IntegrityError
from modhub.hub.hub_errors import is_transient, is_unreachable, retry_after_s, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Answer = TypeVar("Answer")

PAUSES_S = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Waited between attempts; a server that asks for more gets up to `PATIENCE_S`."""

KNOCKS = 2
"""How often it is tried again where nobody answers at all: hardly a server that is busy."""

PATIENCE_S = 30.0
TIMEOUT_S = 10.0
"""Without a byte."""

SLOW_S = 20.0
SLOW_BYTES_PER_S = 1 << 10
"""Who has been waited for so long, and sent less than this, is given up: a byte now and then is no download."""

ANSWER_BYTES = 16 << 20
"""The most that is read of an answer that is no file."""

REDIRECTS = 5
PROGRESS_BYTES = 1 << 10
"""A connection that brought fewer than these before it broke counts as a failure."""

CONTENT_RANGE = re.compile(r"bytes (\d+)-\d*/(\d+|\*)")


def retried(work: Callable[[], Answer]) -> Answer:
    """Return what some work returns, which may be done again; errors that pass are waited for."""
    for attempt, pause_s in enumerate(PAUSES_S, start=1):
        try:
            return work()
        except Exception as error:
            if not is_transient(error) or (attempt > KNOCKS and is_unreachable(error)):
                raise
            pause(pause_s, error)
    return work()


def pause(pause_s: float, error: BaseException) -> None:
    """Wait before the next attempt, as long as the server asks."""
    time.sleep(min(PATIENCE_S, max(pause_s, retry_after_s(error))))


def ask(url: str, headers: dict[str, str]) -> tuple[Mapping[str, str], Any]:
    """Return the headers and the JSON of an answer; the errors are those of the Hub's client."""
    from huggingface_hub import get_session, hf_raise_for_status

    def once() -> tuple[Mapping[str, str], Any]:
        with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT_S, follow_redirects=True) as response:
            data = b""
            for piece in _paced(response.iter_bytes(), what=url):
                data += piece
                if len(data) > ANSWER_BYTES:
                    raise HubError(f"{url} answers with more than {ANSWER_BYTES:,} bytes")
            hf_raise_for_status(response)
            return response.headers, json.loads(data)

    return retried(once)


def commit_of(url: str, headers: dict[str, str]) -> str | None:
    """Return the commit that a file at an address is of; the errors are those of the Hub's client.

    A repository that was renamed is followed within its server; where the bytes are is not looked at.
    """
    from huggingface_hub import get_session, hf_raise_for_status

    def once(url: str) -> Any:
        response = get_session().head(url, headers=headers, timeout=TIMEOUT_S, follow_redirects=False)
        hf_raise_for_status(response)
        return response

    for _ in range(REDIRECTS):
        response = retried(partial(once, url))
        target = urljoin(url, response.headers.get("Location", ""))
        if "X-Repo-Commit" in response.headers or target == url or urlsplit(target)[:2] != urlsplit(url)[:2]:
            commit: str | None = response.headers.get("X-Repo-Commit")
            return commit
        url = target
    return None


def stream_file(
    url: str, headers: dict[str, str], *, what: str, registry: str, limit: int, start: int = 0
) -> Iterator[bytes]:
    """Yield a file from a position on; a connection that breaks is made again from there.

    Raises:
        NotFound: there is no such file, or it is not shown to us.
        AccessDenied: the registry wants a token, or another one.
        IntegrityError: the file is larger than `limit`, or ends before `start`.
        HubError: the registry cannot be read.
    """
    position, failures = start, 0
    while True:
        since = position
        try:
            with translated(what, registry=registry):
                for piece in _body(url, headers, what=f"{what} in {registry}", limit=limit, start=position):
                    position += len(piece)
                    yield piece
            return
        except HubError as error:
            failures = 0 if position - since >= PROGRESS_BYTES else failures + 1
            if error.__cause__ is None or not is_transient(error.__cause__) or failures > len(PAUSES_S):
                raise
            pause(PAUSES_S[failures - 1] if failures else 0.0, error.__cause__)


def _body(url: str, headers: dict[str, str], *, what: str, limit: int, start: int) -> Iterator[bytes]:
    """Yield what one request brings of a file from a position on."""
    from huggingface_hub import get_session, hf_raise_for_status

    asked = {**headers, "Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
    with get_session().stream("GET", url, headers=asked, timeout=TIMEOUT_S, follow_redirects=True) as response:
        if response.status_code >= 400:
            response.read()
            if response.status_code == 416:
                if response.headers.get("Content-Range") == f"bytes */{start}":
                    return
                raise IntegrityError(f"{what} ends before byte {start:,}")
        hf_raise_for_status(response)
        skipped = start - _first_byte(response, what=what, start=start)
        _check_announced(response, what=what, limit=limit)
        left = limit - start
        for piece in _paced(response.iter_bytes(), what=what):
            kept = piece[skipped:]
            skipped -= len(piece) - len(kept)
            left -= len(kept)
            if left < 0:
                raise _too_large(what, limit)
            if kept:
                yield kept


def _paced(pieces: Iterator[bytes], *, what: str) -> Iterator[bytes]:
    """Yield pieces as they come; only the waiting for them counts, not what is done with them.

    Raises:
        HubError: they come too slowly.
    """
    waited, came = 0.0, 0
    while True:
        began = time.monotonic()
        piece = next(pieces, None)
        waited += time.monotonic() - began
        if piece is None:
            return
        came += len(piece)
        if waited > SLOW_S and came < SLOW_BYTES_PER_S * waited:
            raise HubError(f"{what}: comes too slowly, {came:,} bytes in {waited:.0f} s")
        yield piece


def _first_byte(response: Any, *, what: str, start: int) -> int:
    """Return the position of the first byte of an answer; a server may ignore that a part was asked for."""
    if response.status_code != 206:
        return 0
    match = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != start or "Content-Encoding" in response.headers:
        raise HubError(f"{what}: asked from byte {start:,} on, the server sends another part")
    return start


def _check_announced(response: Any, *, what: str, limit: int) -> None:
    """Refuse a body that says it is too large before it is read."""
    match = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    total = match[2] if match else response.headers.get("Content-Length", "")
    if total.isdecimal() and int(total) > limit:
        raise _too_large(what, limit)


def _too_large(what: str, limit: int) -> IntegrityError:
    return IntegrityError(f"{what} holds more than the {limit:,} bytes expected")
