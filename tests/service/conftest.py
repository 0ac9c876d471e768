from __future__ import annotations

from tests.link.running import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]
