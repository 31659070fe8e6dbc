"""Where a person works: registries, a store, and what becomes of requirements there.

It joins the hub, the resolver and the composer, which do not know one another.
"""

from __future__ import annotations

from modhub.workspace.lockfile import LOCK_FILE, read_lock
from modhub.workspace.project import Project
from modhub.workspace.workspace import Workspace

__all__ = ["LOCK_FILE", "Project", "Workspace", "read_lock"]
