"""Observability and auto-recovery sidecar for OpenClaw gateways."""

__version__ = "0.1.0"
