"""The document's words about itself."""

import re
from datetime import date

from tests.compat import table

DAYS = ("2026-01-01", "2027-02-03")


def test_a_table_that_is_written_on_another_day_differs_in_its_date_alone() -> None:
    """So the day is no drift: `test_releases.py` compares the rows."""
    one, other = (table.document([], [], date.fromisoformat(day)).splitlines() for day in DAYS)
    differing = [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]]
    assert len(differing) == len(("of files", "of databases"))
    for pair in differing:
        assert pair[0].replace(DAYS[0], DAYS[1]) == pair[1]


def test_each_report_names_columns_that_are_there() -> None:
    text = table.head("today", "")
    reports = text.partition("## The gateway's own false alarms")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| [#(].* \| ([^|]+) \|$", reports, re.MULTILINE)
    named = {column for row in rows for column in row.split("; ")}
    assert named
    assert named <= set(table.headings())
