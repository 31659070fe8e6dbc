"""Large files on their way in: Git LFS as the Hub's clients speak it, in one piece or in parts."""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route

from modhub_registry.auth.links import Permit, open_permit, sign
from modhub_registry.errors import Forbidden, Malformed, TooLarge
from modhub_registry.routes.asked import Asked, send, small_body
from modhub_registry.storage import history
from modhub_registry.storage.blobs import CHUNK_BYTES
from modhub_registry.storage.registry import owner_bytes, write_audit
from modhub_registry.storage.repos import owner_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from modhub_registry.routes.asked import Session
    from modhub_registry.settings import Limits
    from modhub_registry.storage.blobs import Blob, Incoming
    from modhub_registry.storage.registry import Registry
    from modhub_registry.storage.repos import Repo

BATCH = "{owner}/{name}.git/info/lfs/objects/batch"
VERIFY = "{owner}/{name}.git/info/lfs/verify"
LFS_TYPE = "application/vnd.git-lfs+json"
OID = re.compile(r"[0-9a-f]{64}")
OBJECTS_AT_ONCE = 1000
PARTS = 10_000
MULTIPART = "multipart"


def routes() -> list[BaseRoute]:
    """Return the routes."""
    return [
        send("POST", "/{kind:kind}/" + BATCH, batch),
        send("POST", "/" + BATCH, batch),
        send("POST", "/{kind:kind}/" + VERIFY, verify),
        send("POST", "/" + VERIFY, verify),
        Route("/_upload/{permit}", receive, methods=["PUT"]),
        Route("/_upload/{permit}", complete, methods=["POST"]),
    ]


def batch(asked: Asked) -> Response:
    """Say for each content whether it is there already, and if not, by which link it is sent."""
    document = asked.json()
    operation = document.get("operation")
    if operation not in {"upload", "download"}:
        raise Malformed(f"the operation is {operation!r:.60}; expected upload or download")
    objects = _objects(document)
    with asked.reading() as session:
        repo = session.writable_repo() if operation == "upload" else session.repo()
        there = history.known_blobs(session.connection, repo.id, [oid for oid, _ in objects])
        if operation == "upload":
            check_room(session, repo.owner, sum(size for oid, size in objects if oid not in there))
    offered = document.get("transfers") or ["basic"]
    parts = isinstance(offered, list) and MULTIPART in offered and _is_large(objects, asked.registry.settings.limits)
    rows = [_row(session, repo, oid, size, there=oid in there, parts=parts) for oid, size in objects]
    if operation == "download":
        rows = [_download_row(oid, size, there=oid in there) for oid, size in objects]
    answer = {"transfer": MULTIPART if parts else "basic", "objects": rows, "hash_algo": "sha256"}
    return JSONResponse(answer, media_type=LFS_TYPE)


def verify(asked: Asked) -> Response:
    """Say whether a content has arrived."""
    document = asked.json()
    oid, size = _object(document)
    with asked.reading() as session:
        repo = session.writable_repo()
        found = history.known_blobs(session.connection, repo.id, [oid]).get(oid)
    if found is None or found.size != size:
        raise Malformed(f"{oid} has not arrived with {size} bytes: send it again")
    return JSONResponse({})


async def receive(request: Request) -> Response:
    """Take a content, or a part of one; it counts once it has the digest that the link names."""
    registry: Registry = request.app.state.registry
    permit = open_permit(str(request.path_params["permit"]), registry.secret)
    if permit.upload and not permit.part:
        raise Forbidden("this link puts parts together: it takes POST")
    incoming = registry.blobs.incoming(permit.size)
    try:
        await _fill(request, incoming)
        if permit.upload:
            etag = await run_in_threadpool(registry.blobs.keep_part, permit.upload, permit.part, incoming)
        else:
            etag = (await run_in_threadpool(_keep, registry, permit, incoming)).sha256
    finally:
        await run_in_threadpool(incoming.discard)
    return JSONResponse({}, headers={"ETag": f'"{etag}"'})


async def complete(request: Request) -> Response:
    """Put the parts of a content together."""
    body = await small_body(request)
    asked = Asked(request, body)
    permit = open_permit(str(request.path_params["permit"]), asked.registry.secret)
    if not permit.upload or permit.part:
        raise Forbidden("this link takes a content: it takes PUT")
    digests = _parts(asked.json())
    await run_in_threadpool(_join, asked.registry, permit, digests)
    return JSONResponse({"success": True})


async def chunks_of(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a body in chunks that are worth the way to another thread."""
    kept, size = [], 0
    async for chunk in stream:
        kept.append(chunk)
        size += len(chunk)
        if size >= CHUNK_BYTES:
            yield b"".join(kept)
            kept, size = [], 0
    if kept:
        yield b"".join(kept)


async def _fill(request: Request, incoming: Incoming) -> None:
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) != incoming.announced:
        raise Malformed(f"the body has {length} bytes, {incoming.announced} were announced")
    async for chunk in chunks_of(request.stream()):
        await run_in_threadpool(incoming.write, chunk)


def _keep(registry: Registry, permit: Permit, incoming: Incoming) -> Blob:
    found = incoming.digest()
    if found != permit.oid:
        raise Malformed(f"the body has the sha256 {found}, {permit.oid} was announced")
    blob = registry.blobs.keep(incoming)
    with registry.database.writing() as connection:
        owner, name = owner_of(connection, permit.repo)
        history.remember_blobs(connection, permit.repo, [blob])
        write_audit(
            connection,
            user=permit.user,
            token=permit.token,
            action="blob.upload",
            subject=f"{owner}/{name}",
            detail={"sha256": blob.sha256, "size": blob.size},
        )
    return blob


def _join(registry: Registry, permit: Permit, digests: list[str]) -> None:
    incoming = registry.blobs.incoming(permit.size)
    try:
        for chunk in registry.blobs.parts(permit.upload, digests):
            incoming.write(chunk)
        _keep(registry, permit, incoming)
    finally:
        incoming.discard()
    registry.blobs.drop_parts(permit.upload)


def _row(session: Session, repo: Repo, oid: str, size: int, *, there: bool, parts: bool) -> dict[str, Any]:
    """Return what a client does with one content."""
    limits = session.asked.registry.settings.limits
    row: dict[str, Any] = {"oid": oid, "size": size}
    if size > limits.file_bytes:
        problem = f"{size} bytes exceed the limit of {limits.file_bytes} for a file"
        return {**row, "error": {"code": 413, "message": problem}}
    if there:
        return row
    asked = session.asked
    permit = Permit(
        repo=repo.id,
        oid=oid,
        size=size,
        user=session.identity.user,
        token=session.identity.token_id,
        until=int(time.time()) + limits.link_seconds,
    )
    folder = "" if repo.kind == "model" else f"{repo.kind}s/"
    check = {"href": f"{asked.base_url}/{folder}{repo.full_name}.git/info/lfs/verify"}
    upload = _in_parts(asked, permit) if parts and size else {"href": _link(asked, permit)}
    return {**row, "actions": {"upload": upload, "verify": check}}


def _in_parts(asked: Asked, permit: Permit) -> dict[str, Any]:
    """Return the links of an upload in parts: one for each, and one to put them together."""
    limits = asked.registry.settings.limits
    chunk = max(limits.part_bytes, -(-permit.size // PARTS))
    whole = {**vars(permit), "upload": secrets.token_hex(16)}
    count = -(-permit.size // chunk)
    links = {"chunk_size": str(chunk)}
    for number in range(1, count + 1):
        size = min(chunk, permit.size - (number - 1) * chunk)
        links[f"{number:05d}"] = _link(asked, Permit(**{**whole, "size": size, "part": number}))
    return {"href": _link(asked, Permit(**whole)), "header": links}


def _download_row(oid: str, size: int, *, there: bool) -> dict[str, Any]:
    problem = "downloads go by resolve" if there else "there is no such content"
    return {"oid": oid, "size": size, "error": {"code": 501 if there else 404, "message": problem}}


def _link(asked: Asked, permit: Permit) -> str:
    return f"{asked.base_url}/_upload/{sign(permit, asked.registry.secret)}"


def _is_large(objects: list[tuple[str, int]], limits: Limits) -> bool:
    return any(size > limits.multipart_bytes for _, size in objects)


def check_room(session: Session, owner: str, more: int) -> None:
    """Check that an owner may keep so many bytes more.

    Raises:
        TooLarge: the quota would be exceeded.
    """
    limit = session.asked.registry.settings.limits.owner_bytes
    if limit and more and owner_bytes(session.connection, owner) + more > limit:
        raise TooLarge(f"{owner} may keep {limit} bytes in all, and {more} more would exceed that")


def _objects(document: dict[str, Any]) -> list[tuple[str, int]]:
    objects = document.get("objects")
    if not isinstance(objects, list) or not 0 < len(objects) <= OBJECTS_AT_ONCE:
        raise Malformed(f"expected 1 to {OBJECTS_AT_ONCE} objects")
    if document.get("hash_algo") not in {None, "sha256", "sha_256"}:
        raise Malformed(f"hash_algo is {document['hash_algo']!r:.60}; expected sha256")
    return [_object(each) for each in objects]


def _object(document: object) -> tuple[str, int]:
    if not isinstance(document, dict):
        raise Malformed(f"an object is {document!r:.60}; expected oid and size")
    oid, size = document.get("oid"), document.get("size")
    if not isinstance(oid, str) or not OID.fullmatch(oid):
        raise Malformed(f"oid is {oid!r:.80}; expected a sha256 of 64 lower-case hexadecimal digits")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 62:
        raise Malformed(f"size is {size!r:.60}; expected a number of bytes")
    return oid, size


def _parts(document: dict[str, Any]) -> list[str]:
    """Return the digests of an upload's parts, in their order."""
    parts = document.get("parts")
    if not isinstance(parts, list) or not 0 < len(parts) <= PARTS:
        raise Malformed(f"expected 1 to {PARTS} parts")
    found: dict[int, str] = {}
    for part in parts:
        number, etag = (part.get("partNumber"), part.get("etag")) if isinstance(part, dict) else (None, None)
        digest = etag.strip('"') if isinstance(etag, str) else ""
        if not isinstance(number, int) or not OID.fullmatch(digest):
            raise Malformed(f"a part is {part!r:.80}; expected partNumber and the etag that the server gave")
        found[number] = digest
    if sorted(found) != list(range(1, len(parts) + 1)):
        raise Malformed("the parts are not numbered 1, 2, 3, ... without gaps")
    return [found[number] for number in sorted(found)]
