from tests.link.conftest import path
from tests.link.running import pytest_pyfunc_call

__all__ = ["path", "pytest_pyfunc_call"]
