"""Spans, metrics and logs: what an operator sees of a sidecar.

The driver tells `Telemetry` each event of the core and what came of it, in that order. Spans are built from these
facts after they happened, with the gateway's times and in the gateway's own trace; metrics are counted as they come.
Nothing here blocks the service or raises into it, and no text of a transcript passes (docs/telemetry.md).
"""

from sidecar.telemetry.facade import Telemetry
from sidecar.telemetry.logs.setup import configure_logging
from sidecar.telemetry.names.labels import PageOutcome, Rejection
from sidecar.telemetry.otlp.pipeline import ExportConfigurationError, Pipeline, open_pipeline

__all__ = [
    "ExportConfigurationError",
    "PageOutcome",
    "Pipeline",
    "Rejection",
    "Telemetry",
    "configure_logging",
    "open_pipeline",
]
