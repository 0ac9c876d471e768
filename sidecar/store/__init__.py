"""What is kept on disk: incidents, how each went on, and the pages they cause.

One SQLite file in the sidecar's data directory. The running sidecar writes it through `sidecar.store.incidents`; the
CLI reads it through `sidecar.store.reader`, whether or not a sidecar runs.
"""
