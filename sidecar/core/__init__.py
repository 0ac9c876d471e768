"""The pure part: facts in, verdicts and decisions out.

Nothing below this package imports asyncio, os, a framework or another room of the sidecar. Time, identifiers and
file content reach it as values, so that a test drives it without I/O.
"""
