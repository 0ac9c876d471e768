"""`pytest tests/transcripts --rewrite` writes what the core decides now into the transcripts; then look at the diff."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write the outputs of tests/transcripts anew")
