"""The gateway's databases, looked at from outside: rows by short read-only queries, locks, openers and files by stat.

Nothing here opens ``-wal`` or ``-shm`` but to read, and nothing writes.
"""
