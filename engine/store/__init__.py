"""The message store: SQLite, group commit, encrypted bodies. The only place that knows a database."""
