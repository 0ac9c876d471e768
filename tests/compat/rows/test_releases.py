"""Each release's real appends to its database, with the real preload and a real sidecar: docs/compatibility.md."""

import asyncio
import os
from pathlib import Path

import pytest

from sidecar.demo.errors import NpmFailedError, NpmMissingError
from sidecar.demo.packages import default_cache_dir, ensure_gateway
from tests.compat.rows import table
from tests.compat.rows.expectations import problems
from tests.compat.rows.measure import MeasuredRows, measure_rows
from tests.compat.rows.scenarios import RELEASES

DOCUMENT = Path(__file__).parents[3] / "docs" / "compatibility.md"
CHOSEN = os.environ.get("OPENCLAW_SIDECAR_COMPAT_ROW_VERSIONS", "2026.8.2 2026.9.6").split()
VERSIONS = RELEASES if CHOSEN == ["all"] else tuple(CHOSEN)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300, func_only=True)]


@pytest.fixture(scope="module", params=VERSIONS)
def measured(request: pytest.FixtureRequest) -> MeasuredRows:
    """What a release does. Without npm the tests are skipped, but on CI that is an error."""
    try:
        package = ensure_gateway(str(request.param), default_cache_dir(), lambda _line: None)
    except (NpmMissingError, NpmFailedError) as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no gateway to test with: {error}")
    return asyncio.run(measure_rows(package))


def test_every_cell_is_as_it_must_be(measured: MeasuredRows) -> None:
    assert problems(measured) == {}


def test_the_adapter_is_the_one_that_the_bundle_asks_for(measured: MeasuredRows) -> None:
    assert measured.adapter == measured.doctor == ("rebase" if measured.asks else "watch")


def test_no_record_is_appended_to_a_file_that_is_left_over(measured: MeasuredRows) -> None:
    assert measured.write == "refused"


def test_the_committed_table_is_what_was_measured(measured: MeasuredRows) -> None:
    committed = DOCUMENT.read_text().splitlines()
    assert [line for line in table.rows_of(measured) if line not in committed] == []
