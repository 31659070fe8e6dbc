"""Files: `resolve`, with ranges and with what the Hub's clients need to keep them in their cache."""

from __future__ import annotations

import mimetypes
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from modhub_registry.errors import EntryNotFound, RangeNotSatisfiable
from modhub_registry.routes.asked import Asked
from modhub_registry.storage import history
from modhub_registry.storage.blobs import CHUNK_BYTES
from modhub_registry.storage.history import COMMIT_ID
from modhub_registry.storage.trees import File

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
SAFE_TYPES = re.compile(r"text/plain|application/json|image/(png|jpeg|gif|webp)")
NEVER_A_PAGE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
"""Files are strangers' and come from the address of the catalogue: no browser may run them."""


def routes() -> list[BaseRoute]:
    """Return the routes."""
    return [
        _route("/{kind:kind}/{owner}/{name}/resolve/{rev}/{path:path}"),
        _route("/{kind:kind}/{owner}/{name}/raw/{rev}/{path:path}"),
        _route("/{owner}/{name}/resolve/{rev}/{path:path}"),
        _route("/{owner}/{name}/raw/{rev}/{path:path}"),
        _route("/api/resolve-cache/{kind:kind}/{owner}/{name}/{rev}/{path:path}"),
    ]


def resolve(asked: Asked) -> Response:
    """Answer with a file, or a part of it."""
    with asked.reading() as session:
        repo = session.repo()
        revision = asked.part("rev")
        commit = history.resolve(session.connection, repo, revision)
        file = asked.registry.trees.find(session.connection, commit.tree, asked.part("path"))
    headers = {"X-Repo-Commit": commit.id, "Accept-Ranges": "bytes"}
    if not isinstance(file, File):
        raise EntryNotFound(f"{repo.full_name} has no file {asked.part('path')!r} at {revision}", headers=headers)
    headers |= _file_headers(file, asked.part("path"), pinned=bool(COMMIT_ID.fullmatch(revision)))
    if headers["ETag"] in asked.request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    start, length = _asked_range(asked, file, headers["ETag"])
    partial = (start, length) != (0, file.size)
    if partial:
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{file.size}"
    if asked.request.method == "GET" and start == 0:
        asked.registry.note_download(repo.id)
    return _content(asked, file, start=start, length=length, headers=headers, status=206 if partial else 200)


def _content(asked: Asked, file: File, *, start: int, length: int, headers: dict[str, str], status: int) -> Response:
    headers["Content-Length"] = str(length)
    if asked.request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    chunks = asked.registry.blobs.read(file.sha256, start=start, length=length)
    if length <= CHUNK_BYTES:
        return Response(b"".join(chunks), status_code=status, headers=headers)
    return StreamingResponse(chunks, status_code=status, headers=headers)


def _file_headers(file: File, path: str, *, pinned: bool) -> dict[str, str]:
    etag = f'"{file.sha256 if file.lfs else file.oid}"'
    name = path.rpartition("/")[2]
    kind = mimetypes.guess_type(name)[0] or ""
    text = name.endswith((".md", ".txt", ".yaml", ".yml", ".toml", ".csv"))
    safe = "text/plain" if text else kind if SAFE_TYPES.fullmatch(kind) else ""
    headers = {
        "ETag": etag,
        "Content-Type": f"{safe}; charset=utf-8" if safe == "text/plain" else safe or "application/octet-stream",
        "Content-Disposition": f"{'inline' if safe else 'attachment'}; filename*=UTF-8''{quote(name)}",
        "Cache-Control": "private, max-age=31536000, immutable" if pinned else "private, no-cache",
        **NEVER_A_PAGE,
    }
    if file.lfs:
        headers |= {"X-Linked-Size": str(file.size), "X-Linked-Etag": etag}
    return headers


def _asked_range(asked: Asked, file: File, etag: str) -> tuple[int, int]:
    """Return where the answer starts and how long it is; a range that is malformed counts as none, as HTTP says."""
    match = RANGE.fullmatch(asked.request.headers.get("range", "").strip())
    condition = asked.request.headers.get("if-range", etag)
    if not match or not any(match.groups()) or condition != etag:
        return 0, file.size
    first, last = match.groups()
    if not first:
        start = max(0, file.size - int(last))
        end = file.size
    else:
        start = int(first)
        end = min(file.size, int(last) + 1) if last else file.size
        if last and int(last) < start:
            return 0, file.size
    if start >= file.size or start >= end:
        headers = {"Content-Range": f"bytes */{file.size}", "ETag": etag}
        raise RangeNotSatisfiable(f"the file has {file.size} bytes, none of them in the range", headers=headers)
    return start, end - start


def _route(path: str) -> Route:
    def endpoint(request: Request) -> Response:
        return resolve(Asked(request))

    return Route(path, endpoint, methods=["GET", "HEAD"])
