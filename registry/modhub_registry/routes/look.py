"""Looking up repositories: the list, one of them, its files and its commits."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode

from starlette.responses import JSONResponse

from modhub_registry.errors import EntryNotFound, Malformed
from modhub_registry.routes.asked import Asked, get, send
from modhub_registry.storage import history, repos
from modhub_registry.storage.repos import Wanted
from modhub_registry.storage.trees import File, Folder, Found

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from modhub_registry.routes.asked import Session
    from modhub_registry.storage.history import Commit
    from modhub_registry.storage.repos import Repo

REPO = "/api/{kind:kind}/{owner}/{name}"
PATHS_AT_ONCE = 1000
ENTRIES_AT_ONCE = 1000
COMMITS_AT_ONCE = 1000
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"


def routes() -> list[BaseRoute]:
    """Return the routes."""
    return [
        get("/api/{kind:kind}", list_repos),
        get(REPO, info),
        get(REPO + "/revision/{rev}", info),
        get(REPO + "/tree/{rev}", tree),
        get(REPO + "/tree/{rev}/{path:path}", tree),
        send("POST", REPO + "/paths-info/{rev}", paths_info),
        get(REPO + "/commits/{rev}", commits),
        get(REPO + "/treesize/{rev}", tree_size),
        get(REPO + "/treesize/{rev}/{path:path}", tree_size),
    ]


def list_repos(asked: Asked) -> Response:
    """List repositories, a page at a time; `Link` leads to the next one."""
    limit = asked.number("limit", repos.PAGE)
    with asked.reading() as session:
        wanted = Wanted(
            kind=asked.kind,
            tags=tuple(tag for text in asked.queries("filter") for tag in text.split(",") if tag)
            + tuple(filter(None, [asked.query("pipeline_tag")])),
            author=asked.query("author"),
            search=asked.query("search"),
            sort=asked.query("sort", "lastModified"),
            ascending=asked.query("direction", "-1") == "1",
            limit=limit,
            visible_to=session.identity.owners,
            cursor=asked.query("cursor"),
        )
        found, cursor = repos.page(session.connection, wanted)
        more = _more(asked)
        rows = [described(repo, sha=repo.sha, more=more) for repo in found]
        if "siblings" in more:
            for repo, row in zip(found, rows, strict=True):
                row["siblings"] = _siblings(session, history.resolve(session.connection, repo, repo.sha), blobs=False)
    return JSONResponse(rows, headers=_next_page(asked, cursor))


def info(asked: Asked) -> Response:
    """Describe a repository at a revision."""
    with asked.reading() as session:
        repo = session.repo()
        commit = history.resolve(session.connection, repo, asked.part("rev") or history.MAIN)
        more = _more(asked) or {"cardData", "siblings"}
        row = described(repo, sha=commit.id, more=more)
        if "siblings" in more:
            row["siblings"] = _siblings(session, commit, blobs=asked.flag("blobs"))
        if asked.request.query_params.get("expand") or asked.flag("blobs"):
            sizes = session.asked.registry.trees.walk(session.connection, commit.tree)
            row["usedStorage"] = sum(found.entry.size for found in sizes if isinstance(found.entry, File))
    return JSONResponse(row)


def tree(asked: Asked) -> Response:
    """List the files of a folder, or of all folders below it."""
    limit = max(1, min(asked.number("limit", ENTRIES_AT_ONCE), ENTRIES_AT_ONCE))
    path = asked.part("path").strip("/")
    with asked.reading() as session:
        commit = history.resolve(session.connection, session.repo(), asked.part("rev"))
        folder = asked.registry.trees.find(session.connection, commit.tree, path)
        if not isinstance(folder, Folder):
            raise EntryNotFound(f"{asked.part('rev')} has no folder {path!r}", headers={"X-Repo-Commit": commit.id})
        walk = asked.registry.trees.walk(
            session.connection,
            folder.id,
            at=path,
            after=asked.query("cursor"),
            recursive=asked.flag("recursive"),
        )
        rows: list[dict[str, Any]] = []
        cursor = ""
        for found in walk:
            if len(rows) == limit:
                cursor = str(rows[-1]["path"])
                break
            rows.append(shown_entry(found))
    return JSONResponse(rows, headers=_next_page(asked, cursor))


def paths_info(asked: Asked) -> Response:
    """Describe some files and folders; those that are not there are left out."""
    paths = _paths(asked)
    with asked.reading() as session:
        commit = history.resolve(session.connection, session.repo(), asked.part("rev"))
        found = [(path, asked.registry.trees.find(session.connection, commit.tree, path)) for path in paths]
    return JSONResponse([shown_entry(Found(path, entry)) for path, entry in found if entry is not None])


def tree_size(asked: Asked) -> Response:
    """Add up the sizes of the files below a folder."""
    path = asked.part("path").strip("/")
    with asked.reading() as session:
        commit = history.resolve(session.connection, session.repo(), asked.part("rev"))
        entry = asked.registry.trees.find(session.connection, commit.tree, path)
        if entry is None:
            raise EntryNotFound(f"{asked.part('rev')} has no {path!r}")
        found: Iterable[Found] = [Found(path, entry)]
        if isinstance(entry, Folder):
            found = asked.registry.trees.walk(session.connection, entry.id, at=path)
        size = sum(each.entry.size for each in found if isinstance(each.entry, File))
    return JSONResponse({"path": f"/{path}", "size": size})


def commits(asked: Asked) -> Response:
    """List the commits that lead to a revision, newest first."""
    limit = max(1, min(asked.number("limit", COMMITS_AT_ONCE), COMMITS_AT_ONCE))
    with asked.reading() as session:
        repo = session.repo()
        start = history.resolve(session.connection, repo, asked.query("cursor") or asked.part("rev"))
        found = history.log(session.connection, repo, start.id, limit=limit + 1)
    rows = [_shown_commit(commit) for commit in found[:limit]]
    return JSONResponse(rows, headers=_next_page(asked, found[limit].id if len(found) > limit else ""))


def described(repo: Repo, *, sha: str, more: Iterable[str] = ()) -> dict[str, Any]:
    """Return a repository as the Hub's clients read it."""
    row: dict[str, Any] = {
        "_id": f"{repo.id:024x}",
        "id": repo.full_name,
        "author": repo.owner,
        "sha": sha,
        "private": repo.private,
        "disabled": False,
        "gated": False,
        "downloads": repo.downloads,
        "likes": 0,
        "tags": list(repo.tags),
        "createdAt": shown_time(repo.created_at),
        "lastModified": shown_time(repo.updated_at),
    }
    if repo.kind == "model":
        row["modelId"] = repo.full_name
    for key, name in (("library_name", "library_name"), ("pipeline_tag", "pipeline_tag")):
        if isinstance(repo.card.get(name), str):
            row[key] = repo.card[name]
    if "cardData" in more:
        row["cardData"] = dict(repo.card)
    return row


def shown_entry(found: Found) -> dict[str, Any]:
    """Return a file or folder as the Hub's clients read it."""
    entry = found.entry
    if isinstance(entry, Folder):
        return {"type": "directory", "path": found.path, "size": 0, "oid": entry.id[:40]}
    row: dict[str, Any] = {"type": "file", "path": found.path, "size": entry.size, "oid": git_id(entry)}
    if entry.lfs:
        row["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": pointer_size(entry)}
    return row


def pointer_size(file: File) -> int:
    """Return the bytes of the text that stands for a large file in Git."""
    return len(POINTER.format(sha256=file.sha256, size=file.size))


def git_id(file: File) -> str:
    """Return a file's id in Git, which for a large file is that of the text that stands for it."""
    if not file.lfs:
        return file.oid
    pointer = POINTER.format(sha256=file.sha256, size=file.size).encode()
    return hashlib.sha1(b"blob %d\0%b" % (len(pointer), pointer), usedforsecurity=False).hexdigest()


def shown_time(milliseconds: int) -> str:
    """Return a time as the Hub writes it."""
    return (
        datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}Z"
    )


def _siblings(session: Session, commit: Commit, *, blobs: bool) -> list[dict[str, Any]]:
    rows = []
    for found in session.asked.registry.trees.walk(session.connection, commit.tree):
        if isinstance(found.entry, File):
            row: dict[str, Any] = {"rfilename": found.path}
            if blobs:
                row |= {"size": found.entry.size, "blobId": git_id(found.entry)}
            if blobs and found.entry.lfs:
                lfs = {"sha256": found.entry.sha256, "size": found.entry.size}
                row["lfs"] = {**lfs, "pointerSize": pointer_size(found.entry)}
            rows.append(row)
    return rows


def _more(asked: Asked) -> set[str]:
    """Return which fields are asked for beyond the usual ones."""
    more = {word for text in (*asked.queries("expand"), *asked.queries("expand[]")) for word in text.split(",")}
    if asked.flag("full"):
        more |= {"siblings", "cardData"} if asked.query("full") else set()
    if asked.flag("cardData"):
        more.add("cardData")
    return more


def _paths(asked: Asked) -> list[str]:
    """Return the paths that a form, or a JSON object, asks for."""
    kind = asked.request.headers.get("content-type", "").partition(";")[0].strip()
    if kind == "application/json":
        paths: Any = asked.json().get("paths", [])
    else:
        try:
            paths = parse_qs(asked.body.decode("utf-8"), max_num_fields=2 * PATHS_AT_ONCE).get("paths", [])
        except ValueError as error:
            raise Malformed(f"expected a form with the field 'paths': {error}") from error
    paths = [paths] if isinstance(paths, str) else paths
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths) or len(paths) > PATHS_AT_ONCE:
        raise Malformed(f"expected at most {PATHS_AT_ONCE} texts as 'paths'")
    return [path.strip("/") for path in paths]


def _shown_commit(commit: Commit) -> dict[str, Any]:
    return {
        "id": commit.id,
        "title": commit.title,
        "message": commit.message,
        "authors": [{"user": commit.author}],
        "date": shown_time(commit.created_at),
    }


def _next_page(asked: Asked, cursor: str) -> dict[str, str]:
    if not cursor:
        return {}
    query = [(key, value) for key, value in asked.request.query_params.multi_items() if key != "cursor"]
    url = f"{asked.base_url}{asked.request.scope['path']}?{urlencode([*query, ('cursor', cursor)])}"
    return {"Link": f'<{url}>; rel="next"'}
