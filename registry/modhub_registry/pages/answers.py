"""A page as an answer: rendered, small, fresh or unchanged, and unable to run what it was not sent."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import Response

from modhub._version import __version__
from modhub.report.labels import label, printable
from modhub.report.words import FIRM_SPACE, byte_size, interval, percent, shown_count
from modhub_registry.pages.words import large

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub_registry.errors import Refusal
    from modhub_registry.routes.asked import Asked

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Vary": "Authorization",
}
FRESH = "private, no-cache"
"""Kept by the reader alone, and asked for again every time: the answer is mostly that nothing changed."""

FOR_EVER = "public, max-age=31536000, immutable"
"""For what has its digest in its address."""

TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
TITLES = {400: "That cannot be asked", 401: "This takes a token", 404: "Nothing is here", 501: "Not readable here"}


class Press:
    """What turns values into pages."""

    def __init__(self) -> None:
        self.environment = Environment(
            loader=PackageLoader("modhub_registry.pages"),
            autoescape=True,
            undefined=StrictUndefined,
            # Whatever is no markup is a text of strangers.
            finalize=lambda value: printable(value) if type(value) is str else value,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters |= {
            "percent": percent,
            "bytes": _size,
            "interval": interval,
            "count": shown_count,
            "short": _short,
            "large": large,
            "code": _code,
        }
        self.environment.globals |= {"version": __version__, "asset": self.asset}

    @cached_property
    def assets(self) -> Mapping[str, tuple[bytes, str]]:
        """The files that pages load, by a name that holds their digest, with their types."""
        found = {}
        for file in files("modhub_registry.pages").joinpath("static").iterdir():
            stem, _, kind = file.name.partition(".")
            data = file.read_bytes()
            found[f"{stem}.{hashlib.sha256(data).hexdigest()[:12]}.{kind}"] = (data, TYPES[kind])
        return found

    def asset(self, name: str) -> str:
        """Return the address of a file that pages load."""
        stem, _, kind = name.partition(".")
        return next(f"/static/{key}" for key in self.assets if key.startswith(f"{stem}.") and key.endswith(f".{kind}"))

    def page(self, asked: Asked, template: str, *, status: int = 200, **values: Any) -> Response:
        """Return a page; an empty answer where the reader has this very one."""
        text = self.environment.get_template(template).render(base_url=asked.base_url, **values)
        body = text.encode()
        headers = {**HEADERS, "Cache-Control": FRESH, "ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"'}
        if status == 200 and headers["ETag"] in asked.request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, status, headers, media_type="text/html; charset=utf-8")

    def refused(self, asked: Asked, error: Refusal) -> Response:
        """Return a page that says why there is no other."""
        title = TITLES.get(error.status, "That did not work")
        answer = self.page(asked, "refused.html", status=error.status, title=title, reason=error.message, here="")
        answer.headers["X-Error-Code"] = error.code
        answer.headers.update(error.headers)
        if error.status == 401:
            answer.headers["WWW-Authenticate"] = 'Bearer realm="modhub"'
        return answer


def _size(count: int) -> str:
    return byte_size(count).replace(" ", FIRM_SPACE)


def _code(text: str) -> Markup:
    """Return a text of ours with what stands between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  It was escaped.


def _short(text: str, most: int = 120) -> str:
    """Return a text with its middle left out where it is too long for a page."""
    return label(text, most=most) if text else text
