"""Trying a model in the browser: the server sends it, the reader's machine runs it, and no image goes anywhere.

What runs it, ONNX Runtime's build for the web, is not part of modhub: the operator puts three files into a folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.responses import FileResponse

from modhub_registry.errors import NoSuchRoute
from modhub_registry.pages.answers import HEADERS, POLICY
from modhub_registry.pages.compose_page import requirements_of

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.responses import Response

    from modhub_registry.pages.views import Views
    from modhub_registry.routes.asked import Asked

RUNTIME_FILES = {
    "ort.wasm.min.mjs": "text/javascript; charset=utf-8",
    "ort-wasm-simd-threaded.mjs": "text/javascript; charset=utf-8",
    "ort-wasm-simd-threaded.wasm": "application/wasm",
}
"""What the package onnxruntime-web calls them, below its folder ``dist``."""

WEB_FOLDER = "web"
RUNS_WASM = POLICY.replace("script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'").replace(
    "img-src 'self'", "img-src 'self' blob:"
)
"""WebAssembly may be compiled on this page alone; text still becomes no program."""


class TryPage:
    """The page, and the files that run the model on it."""

    def __init__(self, views: Views) -> None:
        self.views = views

    def try_model(self, asked: Asked) -> Response:
        """Show what scores an image that the reader chooses."""
        picks = requirements_of(asked)
        with asked.reading():
            missing = [name for name in RUNTIME_FILES if not (_folder(asked) / name).is_file()]
        query = urlencode([("class", pick[6:]) if pick.startswith("class:") else ("m", pick) for pick in picks])
        answer = self.views.press.page(
            asked,
            "try.html",
            here="",
            picks=picks,
            query=query,
            missing=missing,
            files=list(RUNTIME_FILES),
            folder=WEB_FOLDER,
        )
        answer.headers["Content-Security-Policy"] = RUNS_WASM
        return answer

    def runtime(self, asked: Asked) -> Response:
        """Send a file of ONNX Runtime's build for the web."""
        name = asked.part("file")
        path = _folder(asked) / name
        if name not in RUNTIME_FILES or not path.is_file():
            raise NoSuchRoute(f"nothing is at {asked.request.url.path[:200]!r}")
        # It is not ours and may be replaced, so browsers ask again, once a day.
        headers = {**HEADERS, "Cache-Control": "public, max-age=86400", "Content-Type": RUNTIME_FILES[name]}
        return FileResponse(path, headers=headers)


def _folder(asked: Asked) -> Path:
    return asked.registry.settings.root / WEB_FOLDER
