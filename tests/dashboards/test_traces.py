"""Every question for traces, asked of the spans that the sidecar of the scripted hour sent over OTLP."""

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.dashboards.grafana import FILES, Asked, asked, load, panels
from tests.dashboards.hour import Hour, spans_of
from tests.dashboards.traceql import Seen, TraceQLError, select

QUERIES = [query for query in asked("tempo") if query.target["query"] != "$trace"]
LINKS = sorted(
    {
        json.loads(parse_qs(urlsplit(panel["links"][0]["url"]).query)["panes"][0])["traces"]["queries"][0]["query"]
        for path in FILES
        for panel in panels(load(path))
    }
)
NEVER_IN_THE_HOUR = {"{ name = `session.fence` && span.openclaw.recovery.outcome = `ineffective` }"}


@pytest.fixture(scope="module")
def spans(hour: Hour) -> list[Seen]:
    """All spans of the hour."""
    return spans_of(hour.backend)


def _filled(query: str, spans: list[Seen]) -> str:
    """With the trace and the session of a window that was recovered, as one would click on it."""
    window = next(seen for seen in spans if seen.field("span.openclaw.recovery.outcome") == "effective")
    trace, session = str(window.field("trace:id")), str(window.field("span.openclaw.session.hash"))
    return re.sub(r"\$\{?trace\b\}?", trace, re.sub(r"\$\{?session\b\}?", session, query))


@pytest.mark.timeout(180)  # the hour itself, once
@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_a_table_of_spans_has_lines(query: Asked, spans: list[Seen]) -> None:
    assert select(_filled(query.target["query"], spans), spans)


@pytest.mark.parametrize("link", LINKS)
def test_a_link_leads_to_traces(link: str, spans: list[Seen]) -> None:
    assert bool(select(_filled(link, spans), spans)) == (link not in NEVER_IN_THE_HOUR)


def test_the_timeline_of_a_recovered_turn_is_whole(spans: list[Seen]) -> None:
    trace = _filled("$trace", spans)
    names = {seen.span.name.split()[0] for seen in spans if seen.field("trace:id") == trace}

    assert names == {"invoke_agent", "session.lock", "session.fence", "chat", "session.verdict", "session.recovery"}


def test_what_the_reader_does_not_know_is_an_error(spans: list[Seen]) -> None:
    for query in ("{ name = `a` } >> { name = `b` }", "{ nonsense }", "{ kind = `x` }", "{} | rate()"):
        with pytest.raises(TraceQLError):
            select(query, spans)
