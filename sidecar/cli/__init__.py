"""The command `openclaw-sidecar`."""

from sidecar.cli.plain_logs import load_structlog

load_structlog()

from sidecar.cli.entry import main  # noqa: E402 - what it imports logs

__all__ = ["main"]
