"""Puts the rooms together and runs them."""

from sidecar.service.lifecycle import run

__all__ = ["run"]
