"""The part that runs inside the gateway: ES modules without dependencies, shipped as package data."""

from importlib.resources import files
from pathlib import Path


def preload_path() -> Path:
    """The module to give to Node with ``--import``."""
    return Path(str(files(__package__) / "preload.mjs"))
