"""Loads structlog without rich: it would take 4 MB, and a fifteenth of the start, for tracebacks that nobody prints.

structlog loads rich wherever it is installed. Here it is, for the tables of the commands, which load it by themselves.
"""

import sys
from types import ModuleType
from typing import cast


def load_structlog() -> None:
    """To be called ahead of the first import of structlog; later it does nothing."""
    modules = cast("dict[str, ModuleType | None]", sys.modules)
    if "rich" in modules:
        return
    modules["rich"] = None  # so an import fails (sys.modules in Python's reference), and structlog goes without
    try:
        import structlog  # noqa: F401, PLC0415 - to load it now is the point
    finally:
        del modules["rich"]
