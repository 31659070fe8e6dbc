"""Making, changing and deleting repositories, and their branches and tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from modhub_registry.checks.versions import check_may_go
from modhub_registry.errors import Malformed, NotSupported, Taken
from modhub_registry.routes.asked import KINDS, Asked, get, send, text_field
from modhub_registry.storage import history, repos
from modhub_registry.storage.history import BRANCH, MAIN, TAG, Ref
from modhub_registry.storage.trees import empty_tree

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from modhub_registry.routes.asked import Session

PREFIX = {"model": "", "dataset": "datasets/", "space": "spaces/"}
REPO = "/api/{kind:kind}/{owner}/{name}"


def routes() -> list[BaseRoute]:
    """Return the routes."""
    return [
        send("POST", "/api/repos/create", create_repo),
        send("DELETE", "/api/repos/delete", delete_repo),
        send("POST", "/api/repos/move", move_repo),
        send("PUT", REPO + "/settings", change_settings),
        get(REPO + "/auth-check", check_access),
        get(REPO + "/auth-check/{action}", check_access),
        get(REPO + "/refs", list_refs),
        send("POST", REPO + "/tag/{rev}", create_tag),
        send("DELETE", REPO + "/tag/{rev}", delete_tag),
        send("POST", REPO + "/branch/{rev}", create_branch),
        send("DELETE", REPO + "/branch/{rev}", delete_branch),
    ]


def create_repo(asked: Asked) -> Response:
    """Make a repository with an empty first commit, so that every later commit has a parent."""
    document = asked.json()
    with asked.writing() as session:
        token = session.identity.check_known()
        kind, owner, name = _named(document, otherwise=token.user)
        session.identity.check_write(owner)
        full = repos.checked_name(owner, name)
        answer = {"url": f"{asked.base_url}/{PREFIX[kind]}{full}", "name": str(full), "id": str(full)}
        try:
            _create(session, full, kind=kind, private=_private(document, default=False))
        except Taken as error:
            return _refused(error, answer)
    return JSONResponse(answer)


def delete_repo(asked: Asked) -> Response:
    """Delete a repository; its name stays reserved."""
    document = asked.json()
    with asked.writing() as session:
        kind, owner, name = _named(document, otherwise=session.identity.check_known().user)
        repo = session.repo_named(kind, owner, name)
        session.identity.check_write(repo.owner)
        repos.remove(session.connection, repo)
        session.tell("repo.delete", repo.full_name, kind=kind, sha=repo.sha)
    return JSONResponse({})


def move_repo(asked: Asked) -> Response:
    """Refuse: a name that moved on would leave locks behind that name it."""
    with asked.reading() as session:
        session.identity.check_known()
    raise NotSupported("repositories are not renamed here: locks name them. Create a new one and deprecate this one")


def change_settings(asked: Asked) -> Response:
    """Hide a repository, or show it."""
    document = asked.json()
    unknown = sorted(set(document) - {"private", "visibility", "gated"})
    with asked.writing() as session:
        repo = session.writable_repo()
        if unknown or document.get("gated"):
            name = unknown[0] if unknown else "gated"
            raise NotSupported(f"{name!r} cannot be set here; expected visibility or private")
        private = _private(document, default=repo.private)
        repos.set_private(session.connection, repo, private=private)
        session.tell("repo.settings", repo.full_name, private=private)
    return JSONResponse({"private": private})


def check_access(asked: Asked) -> Response:
    """Say whether a repository may be read, or written."""
    with asked.reading() as session:
        repo = session.repo()
        if asked.part("action") == "write" or asked.flag("write"):
            session.identity.check_write(repo.owner)
    return JSONResponse({})


def list_refs(asked: Asked) -> Response:
    """List branches and tags."""
    with asked.reading() as session:
        found = history.all_refs(session.connection, session.repo())
    branches = [_shown(ref, "heads") for ref in found if ref.kind == BRANCH]
    tags = [_shown(ref, "tags") for ref in found if ref.kind == TAG]
    return JSONResponse({"branches": branches, "tags": tags, "converts": [], "pullRequests": []})


def create_tag(asked: Asked) -> Response:
    """Name a commit; a name that is taken stays where it is."""
    document = asked.json()
    name = history.check_ref_name(document.get("tag"))
    with asked.writing() as session:
        repo = session.writable_repo()
        commit = history.resolve(session.connection, repo, asked.part("rev"))
        try:
            history.add_ref(session.connection, repo.id, Ref(kind=TAG, name=name, commit_id=commit.id))
        except Taken as error:
            raise Taken(f"Tag {name} already exists") from error
        session.tell("tag.create", repo.full_name, tag=name, commit=commit.id)
    return JSONResponse({"tag": name, "commit": commit.id}, 201)


def delete_tag(asked: Asked) -> Response:
    """Delete a tag that no release hangs on."""
    with asked.writing() as session:
        repo = session.writable_repo()
        name = asked.part("rev")
        check_may_go(session.connection, asked.registry, repo, name)
        history.drop_ref(session.connection, repo.id, TAG, name)
        session.tell("tag.delete", repo.full_name, tag=name)
    return JSONResponse({})


def create_branch(asked: Asked) -> Response:
    """Make a branch that begins at a revision, `main` where none is named."""
    document = asked.json() if asked.body else {}
    with asked.writing() as session:
        repo = session.writable_repo()
        commit = history.resolve(session.connection, repo, text_field(document, "startingPoint", MAIN))
        name = asked.part("rev")
        history.add_ref(session.connection, repo.id, Ref(kind=BRANCH, name=name, commit_id=commit.id))
        session.tell("branch.create", repo.full_name, branch=name, commit=commit.id)
    return JSONResponse({"branch": name, "commit": commit.id}, 201)


def delete_branch(asked: Asked) -> Response:
    """Delete a branch other than `main`."""
    name = asked.part("rev")
    if name == MAIN:
        raise Malformed(f"the branch {MAIN} cannot be deleted: everything is found by it")
    with asked.writing() as session:
        repo = session.writable_repo()
        history.drop_ref(session.connection, repo.id, BRANCH, name)
        session.tell("branch.delete", repo.full_name, branch=name)
    return JSONResponse({})


def _create(session: Session, name: Any, *, kind: str, private: bool) -> None:
    new: dict[str, str] = {}
    tree = empty_tree(new)
    id = repos.create(session.connection, name, kind=kind, private=private, sha="")
    commit = history.new_commit(
        parent=None, repo_id=id, tree=tree, title="initial commit", message="", author=session.identity.user
    )
    session.asked.registry.trees.store(session.connection, new)
    history.write_commit(session.connection, commit)
    history.add_ref(session.connection, id, Ref(kind=BRANCH, name=MAIN, commit_id=commit.id))
    repo = repos.find(session.connection, kind, name.owner, name.name)
    repos.describe(session.connection, repo, sha=commit.id, tags=(), card={})
    session.tell("repo.create", str(name), kind=kind, private=private)


def _named(document: dict[str, Any], *, otherwise: str) -> tuple[str, str, str]:
    """Return kind, owner and name from the body of a request about a repository.

    Where nothing is said of an owner, that is `otherwise`; an empty one is a wrong name, such as ``/pets``.
    """
    kind = text_field(document, "type", "model")
    if kind not in KINDS.values():
        raise Malformed(f"the type is {kind!r}; expected one of {', '.join(KINDS.values())}")
    name = text_field(document, "name")
    owner = None if document.get("organization") is None else text_field(document, "organization")
    if owner is None and "/" in name:
        owner, _, name = name.partition("/")
    return kind, otherwise if owner is None else owner, name


def _private(document: dict[str, Any], *, default: bool) -> bool:
    visibility = text_field(document, "visibility")
    if visibility:
        if visibility not in {"public", "private"}:
            raise Malformed(f"the visibility is {visibility!r}; expected public or private")
        return visibility == "private"
    private = document.get("private")
    if private is not None and not isinstance(private, bool):
        raise Malformed(f"private is {private!r:.60}; expected true or false")
    return default if private is None else private


def _refused(error: Taken, answer: dict[str, str]) -> Response:
    headers = {"X-Error-Code": error.code, "X-Error-Message": error.message}
    return JSONResponse({"error": error.message, **answer}, error.status, headers)


def _shown(ref: Ref, folder: str) -> dict[str, str]:
    return {"name": ref.name, "ref": f"refs/{folder}/{ref.name}", "targetCommit": ref.commit_id}
