"""How the tables came to be what they are, for alembic."""

from __future__ import annotations
