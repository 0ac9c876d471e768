"""The command `openclaw-sidecar`."""

from sidecar.cli.entry import main

__all__ = ["main"]
