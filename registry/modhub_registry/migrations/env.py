"""What alembic runs: the steps, on the connection that `Database.migrate` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from modhub_registry.storage.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
