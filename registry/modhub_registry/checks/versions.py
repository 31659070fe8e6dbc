"""Tags that releases hang on stay where they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from modhub_registry.errors import Forbidden
from modhub_registry.storage import history

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from modhub_registry.storage.registry import Registry
    from modhub_registry.storage.repos import Repo

INDEX_FILE = "modhub.json"
VERSION_TAG = re.compile(r"(.*[/@-])?v[0-9].*")


def check_may_go(connection: Connection, registry: Registry, repo: Repo, tag: str) -> None:
    """Check that a tag may be deleted, and so be made anew somewhere else.

    Raises:
        Forbidden: it is the tag of a version in a modhub collection.
    """
    if VERSION_TAG.fullmatch(tag) and is_collection(connection, registry, repo):
        raise Forbidden(f"the tag {tag} names a version of a modhub collection: it is neither moved nor deleted")


def is_collection(connection: Connection, registry: Registry, repo: Repo) -> bool:
    """Tell whether a repository is a collection of modhub packages on its main branch."""
    head = history.branch_head(connection, repo, history.MAIN)
    return registry.trees.find(connection, head.tree, INDEX_FILE) is not None
