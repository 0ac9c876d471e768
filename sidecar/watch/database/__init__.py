"""The gateway's databases, looked at from outside: rows by short read-only queries, and that one was changed."""
