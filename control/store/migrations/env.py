"""Run by Alembic on the connection that the store hands over, inside the store's transaction."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    render_as_batch=True,  # SQLite can't alter most of a table in place
    transactional_ddl=False,  # the store's transaction is the one; SQLite rolls tables back with it
)
context.run_migrations()
