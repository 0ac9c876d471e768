"""`pytest tests/transcripts --rewrite` writes what the core decides now into the transcripts; then look at the diff."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write the outputs of tests/transcripts anew")
