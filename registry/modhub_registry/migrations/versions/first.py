"""The first tables, and a log that nothing can change."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "first"
down_revision = None
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
APPEND_ONLY_SQLITE = """
CREATE TRIGGER audit_{verb} BEFORE {verb} ON audit BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END
"""
APPEND_ONLY_POSTGRESQL = (
    """
    CREATE FUNCTION audit_only_grows() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the audit log only grows'; END $$
    """,
    """
    CREATE TRIGGER audit_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_only_grows()
    """,
)


def upgrade() -> None:
    """Make the tables."""
    _make_repositories()
    _make_history()
    _make_tokens()
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(APPEND_ONLY_SQLITE.format(verb=verb))
    else:
        for statement in APPEND_ONLY_POSTGRESQL:
            op.execute(statement)


def _make_repositories() -> None:
    op.create_table(
        "repos",
        sa.Column("id", NUMBER, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(96), nullable=False),
        sa.Column("name", sa.String(96), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("private", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("deleted_at", sa.BigInteger),
        sa.Column("downloads", sa.BigInteger, nullable=False),
        sa.Column("sha", sa.String(40), nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("card", sa.JSON, nullable=False),
        sa.UniqueConstraint("kind", "key"),
    )
    op.create_index("repos_by_owner", "repos", ["kind", "owner"])
    op.create_index("repos_by_update", "repos", ["kind", "updated_at", "id"])
    op.create_index("repos_by_creation", "repos", ["kind", "created_at", "id"])
    op.create_index("repos_by_downloads", "repos", ["kind", "downloads", "id"])
    op.create_table(
        "repo_tags",
        sa.Column("repo_id", NUMBER, sa.ForeignKey("repos.id"), primary_key=True),
        sa.Column("tag", sa.String(256), primary_key=True),
    )
    op.create_index("repos_by_tag", "repo_tags", ["tag", "repo_id"])


def _make_history() -> None:
    op.create_table(
        "refs",
        sa.Column("repo_id", NUMBER, sa.ForeignKey("repos.id"), primary_key=True),
        sa.Column("kind", sa.String(8), primary_key=True),
        sa.Column("name", sa.String(256), primary_key=True),
        sa.Column("commit_id", sa.String(40), nullable=False),
    )
    op.create_table(
        "commits",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("repo_id", NUMBER, sa.ForeignKey("repos.id"), nullable=False),
        sa.Column("parent", sa.String(40)),
        sa.Column("tree", sa.String(64), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("author", sa.String(96), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "trees",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("entries", sa.Text, nullable=False),
    )
    op.create_table(
        "repo_blobs",
        sa.Column("repo_id", NUMBER, sa.ForeignKey("repos.id"), primary_key=True),
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("oid", sa.String(40), nullable=False),
    )


def _make_tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.Column("user", sa.String(96), nullable=False),
        sa.Column("scope", sa.String(8), nullable=False),
        sa.Column("owners", sa.JSON, nullable=False),
        sa.Column("label", sa.String(96), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
    )
    op.create_table(
        "audit",
        sa.Column("id", NUMBER, primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("user", sa.String(96), nullable=False),
        sa.Column("token", sa.String(16), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(256), nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
    )
    op.create_table(
        "values",
        sa.Column("key", sa.String(32), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
