"""Commits: what is to be uploaded how, and the commit itself, read line by line as it comes."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route

from modhub_registry.checks.card import CARD_BYTES, CARD_FILE, CardProblem, read_card, tags_of
from modhub_registry.checks.collection import check_commit
from modhub_registry.errors import EntryNotFound, Malformed, NotSupported, StaleParent, TooLarge
from modhub_registry.routes.asked import Asked, json_object, send, text_field
from modhub_registry.routes.upload import OID, check_room, chunks_of
from modhub_registry.storage import history, repos
from modhub_registry.storage.history import MAIN
from modhub_registry.storage.trees import File, check_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from modhub_registry.routes.asked import Session
    from modhub_registry.storage.blobs import Blob
    from modhub_registry.storage.history import Commit
    from modhub_registry.storage.registry import Registry
    from modhub_registry.storage.repos import Repo

REPO = "/api/{kind:kind}/{owner}/{name}"
FILES_AT_ONCE = 1000
TITLE_LENGTH = 500
MESSAGE_LENGTH = 50_000
LINE_EXTRA = 16 << 10
"""What a line may hold beside the content of a file: its path, and the words around it."""

ATTEMPTS = 20
"""How often a commit that names no parent is made anew after others came first."""


def routes() -> list[BaseRoute]:
    """Return the routes."""
    return [
        send("POST", REPO + "/preupload/{rev}", preupload),
        Route(REPO + "/commit/{rev}", commit, methods=["POST"]),
    ]


@dataclass(kw_only=True)
class Draft:
    """What a commit says, as far as it was read.

    Args:
        changes: files by path, None for one that goes.
        large: contents that must have been sent ahead, with their announced sizes, by path.
        gone: files that must be there, because they are deleted.
        folders: the same for folders.
        blobs: contents that came along.
    """

    header: dict[str, Any] | None = None
    changes: dict[str, File | None] = field(default_factory=dict)
    large: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    blobs: list[Blob] = field(default_factory=list)

    @property
    def parent(self) -> str:
        """Return the commit that this one is made from; empty where any will do."""
        return text_field(self.header or {}, "parentCommit")


def preupload(asked: Asked) -> Response:
    """Say for each file whether it travels in the commit or ahead of it."""
    limits = asked.registry.settings.limits
    files = asked.json().get("files")
    if not isinstance(files, list) or len(files) > FILES_AT_ONCE:
        raise Malformed(f"expected at most {FILES_AT_ONCE} files")
    wanted = [_announced(each) for each in files]
    with asked.reading() as session:
        repo = session.writable_repo()
        head = history.branch_head(session.connection, repo, asked.part("rev"))
        rows = []
        for path, size in wanted:
            row: dict[str, Any] = {"path": path, "shouldIgnore": False}
            row["uploadMode"] = "lfs" if size > limits.regular_bytes else "regular"
            there = asked.registry.trees.find(session.connection, head.tree, path)
            if isinstance(there, File):
                row["oid"] = there.sha256 if row["uploadMode"] == "lfs" else there.oid
            rows.append(row)
    return JSONResponse({"files": rows, "commitOid": head.id})


async def commit(request: Request) -> Response:
    """Make a commit; its lines are read one by one, so memory holds one file of those that travel in it."""
    asked = Asked(request)
    await run_in_threadpool(_check_allowed, asked)
    draft = Draft()
    async for line in _lines(request, asked.registry):
        if line.strip():
            await run_in_threadpool(_take, asked.registry, draft, line)
    if draft.header is None:
        raise Malformed("the commit has no header: expected a first line with the key 'header'")
    return await run_in_threadpool(_make, asked, draft)


def _check_allowed(asked: Asked) -> None:
    """Check before anything is read that there may be a commit at all."""
    if asked.flag("create_pr"):
        raise NotSupported("there are no pull requests here: commit to a branch")
    with asked.reading() as session:
        history.branch_head(session.connection, session.writable_repo(), asked.part("rev"))


async def _lines(request: Request, registry: Registry) -> AsyncIterator[bytes]:
    limits = registry.settings.limits
    longest = limits.regular_bytes * 4 // 3 + LINE_EXTRA
    rest = bytearray()
    total = 0
    async for chunk in chunks_of(request.stream()):
        total += len(chunk)
        *whole, last = chunk.split(b"\n")
        for part in whole:
            rest += part
            _check_sizes(len(rest), total, longest, limits.commit_bytes)
            yield bytes(rest)
            rest.clear()
        rest += last
        _check_sizes(len(rest), total, longest, limits.commit_bytes)
    yield bytes(rest)


def _check_sizes(line: int, total: int, longest: int, limit: int) -> None:
    if line > longest:
        raise TooLarge(f"a line of the commit has more than {longest} bytes: send the file ahead, as a large one")
    if total > limit:
        raise TooLarge(f"the commit has more than {limit} bytes: make several of it")


def _take(registry: Registry, draft: Draft, line: bytes) -> None:
    """Add a line to a draft; the content of a file goes to the store at once."""
    document = json_object(line)
    key, value = document.get("key"), document.get("value")
    if not isinstance(value, dict):
        raise Malformed(f"a line has the value {value!r:.60}; expected a JSON object")
    if key == "header":
        if draft.header is not None:
            raise Malformed("the commit has two headers")
        for name in ("summary", "description", "parentCommit"):
            text_field(value, name)
        draft.header = value
        return
    path = check_path(_plain(value.get("path")))
    if len(draft.changes) + len(draft.large) >= registry.settings.limits.files_per_commit:
        raise TooLarge(f"the commit has more than {registry.settings.limits.files_per_commit} files")
    if key == "file":
        blob = _kept(registry, value)
        draft.blobs.append(blob)
        draft.changes[path] = File(sha256=blob.sha256, size=blob.size, oid=blob.oid, lfs=False)
    elif key == "lfsFile":
        draft.changes.pop(path, None)
        draft.large[path] = _large(value)
    elif key in {"deletedFile", "deletedEntry"}:
        draft.gone.add(path)
        draft.changes.setdefault(path, None)
    elif key == "deletedFolder":
        draft.folders.add(path)
        draft.changes.setdefault(path, None)
    else:
        raise Malformed(f"a line has the key {key!r:.60}; expected header, file, lfsFile, deletedFile or deletedFolder")


def _make(asked: Asked, draft: Draft) -> Response:
    for attempt in range(ATTEMPTS):
        try:
            made = _attempt(asked, draft)
        except StaleParent:
            if draft.parent or attempt == ATTEMPTS - 1:
                raise
        else:
            break
    folder = "" if asked.kind == "model" else f"{asked.kind}s/"
    place = f"{asked.base_url}/{folder}{asked.part('owner')}/{asked.part('name')}"
    answer = {
        "success": True,
        "commitOid": made.id,
        "commitUrl": f"{place}/commit/{made.id}",
        "hookOutput": "",
        "pullRequestUrl": None,
    }
    return JSONResponse(answer)


def _attempt(asked: Asked, draft: Draft) -> Commit:
    """Make the commit on top of what the branch is at now.

    Raises:
        StaleParent: somebody else committed meanwhile, or the branch is not at the parent that the header names.
    """
    branch, registry = asked.part("rev"), asked.registry
    new: dict[str, str] = {}
    with asked.reading() as session:
        repo = session.writable_repo()
        head = history.branch_head(session.connection, repo, branch)
        _check_parent(draft.parent, head, branch)
        changes = _changes(session, repo, draft, head)
        root = registry.trees.changed(session.connection, head.tree, changes, new=new)
    if root == head.tree:
        return head
    check_commit(registry, before=head.tree, after=root, new=new)
    made = history.new_commit(
        parent=head,
        repo_id=repo.id,
        tree=root,
        title=_title(draft),
        message=text_field(draft.header or {}, "description")[:MESSAGE_LENGTH],
        author=session.identity.user,
    )
    with asked.writing() as session:
        repo = session.writable_repo()
        check_room(session, repo.owner, _growth(session, repo, draft))
        registry.trees.store(session.connection, new)
        history.write_commit(session.connection, made)
        history.advance(session.connection, made, branch=branch)
        history.remember_blobs(session.connection, repo.id, draft.blobs)
        if branch == MAIN:
            _describe(session, repo, made)
        paths = sorted(changes)
        session.tell("commit", repo.full_name, branch=branch, commit=made.id, files=len(paths), first=paths[:20])
    return made


def _check_parent(parent: str, head: Commit, branch: str) -> None:
    if parent and not (len(parent) >= 7 and head.id.startswith(parent)):
        raise StaleParent(f"the branch {branch} is at {head.id}, not at {parent[:60]}: read it again, and try again")


def _changes(session: Session, repo: Repo, draft: Draft, head: Commit) -> dict[str, File | None]:
    """Return the changes with the large files put in.

    Raises:
        Malformed: a large file was not sent ahead.
        EntryNotFound: what is to be deleted is not there.
    """
    trees = session.asked.registry.trees
    for path in sorted(draft.gone | draft.folders):
        if trees.find(session.connection, head.tree, path) is None:
            raise EntryNotFound(f"{repo.full_name} has no {path!r} that could be deleted")
    there = history.known_blobs(session.connection, repo.id, [oid for oid, _ in draft.large.values()])
    changes = dict(draft.changes)
    for path, (oid, size) in draft.large.items():
        blob = there.get(oid)
        if blob is None or size not in {None, blob.size}:
            raise Malformed(f"{path}: the content {oid} of {size} bytes was not sent to {repo.full_name} before")
        changes[path] = File(sha256=oid, size=blob.size, oid=blob.oid, lfs=True)
    return changes


def _growth(session: Session, repo: Repo, draft: Draft) -> int:
    """Return how many bytes a commit brings along that its repository has not yet."""
    if not session.asked.registry.settings.limits.owner_bytes:
        return 0
    sizes = {blob.sha256: blob.size for blob in draft.blobs}
    there = history.known_blobs(session.connection, repo.id, list(sizes))
    return sum(size for sha256, size in sizes.items() if sha256 not in there)


def _describe(session: Session, repo: Repo, made: Commit) -> None:
    """Write what the card says, for the list of repositories."""
    registry = session.asked.registry
    found = registry.trees.find(session.connection, made.tree, CARD_FILE)
    card: dict[str, Any] = {}
    if isinstance(found, File):
        data = b"".join(registry.blobs.read(found.sha256, start=0, length=min(found.size, CARD_BYTES)))
        try:
            card = read_card(data)
        except CardProblem:
            card = {}
    repos.describe(session.connection, repo, sha=made.id, tags=tags_of(card), card=card)


def _announced(document: object) -> tuple[str, int]:
    if not isinstance(document, dict):
        raise Malformed(f"a file is {document!r:.60}; expected path and size")
    size = document.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise Malformed(f"size is {size!r:.60}; expected a number of bytes")
    return check_path(document.get("path")), size


def _kept(registry: Registry, value: dict[str, Any]) -> Blob:
    if value.get("encoding", "base64") != "base64":
        raise Malformed(f"the encoding is {value['encoding']!r:.60}; expected base64")
    try:
        data = base64.b64decode(text_field(value, "content").encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise Malformed(f"the content of {value.get('path')!r:.200} is no base64: {error}") from error
    if len(data) > registry.settings.limits.regular_bytes:
        raise TooLarge(f"{value.get('path')!r:.200} is too large for a commit: send it ahead, as a large one")
    incoming = registry.blobs.incoming(len(data))
    try:
        incoming.write(data)
        return registry.blobs.keep(incoming)
    finally:
        incoming.discard()


def _large(value: dict[str, Any]) -> tuple[str, int | None]:
    """Return digest and size of a large file; a copy of one comes without the size."""
    oid, size = value.get("oid"), value.get("size")
    if value.get("algo", "sha256") != "sha256":
        raise Malformed(f"algo is {value['algo']!r:.60}; expected sha256")
    if not isinstance(oid, str) or not OID.fullmatch(oid):
        raise Malformed(f"oid is {oid!r:.80}; expected a sha256 of 64 lower-case hexadecimal digits")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise Malformed(f"size is {size!r:.60}; expected a number of bytes")
    return oid, size


def _plain(path: object) -> object:
    """Return the path of a folder without the slash at its end."""
    return path.rstrip("/") if isinstance(path, str) and path != "/" else path


def _title(draft: Draft) -> str:
    return text_field(draft.header or {}, "summary")[:TITLE_LENGTH] or "no title"
