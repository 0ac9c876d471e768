"""Each release's real fence, with the real preload and a real sidecar. docs/compatibility.md says what is driven."""

from pathlib import Path

import pytest

from tests.compat import table
from tests.compat.expectations import disagreements, problems
from tests.compat.measure import Measured
from tests.compat.scenarios import stock_matrix

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60, func_only=True)]


def test_an_adapter_fits_the_release(measured: Measured) -> None:
    assert measured.adapter in {"swap", "publish"}


def test_the_stock_fence_agrees_with_the_matrix(measured: Measured) -> None:
    assert disagreements(stock_matrix()[measured.version], measured.stock) == {}


def test_with_the_sidecar_every_cell_is_as_it_must_be(measured: Measured) -> None:
    found = {key: problems(*key, measured.stock[key], cell) for key, cell in measured.guarded.items()}
    assert {key: what for key, what in found.items() if what} == {}


def test_the_committed_table_is_what_was_measured(measured: Measured) -> None:
    committed = DOCUMENT.read_text().splitlines()
    assert [line for line in table.rows_of(measured) if line not in committed] == []
