"""The document's words about itself."""

from __future__ import annotations

import re

from tests.compat import table


def test_each_report_names_columns_that_are_there() -> None:
    text = table.head("today", "")
    reports = text.partition("## The gateway's own false alarms")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| [#(].* \| ([^|]+) \|$", reports, re.MULTILINE)
    named = {column for row in rows for column in row.split("; ")}
    assert named
    assert named <= set(table.headings())
