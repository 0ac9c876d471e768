"""The pure part: events in, decisions out. docs/architecture.md explains its words.

Nothing below this package imports asyncio, os, a framework or another room of the sidecar. Time, identifiers and
file content reach it as values, so that a test drives it without I/O.
"""
