"""Every query of every panel, asked of a real Prometheus that scraped a real sidecar through a scripted hour."""

from typing import Any

import pytest

from tests.dashboards.grafana import Asked, asked, filled, has_data
from tests.dashboards.hour import SCRAPE_SECONDS, Hour

RATE_INTERVAL = f"{4 * SCRAPE_SECONDS:g}s"
"""As Grafana makes it: four times the scrape interval."""

QUERIES = list(asked())

EMPTY_WHEN_IDLE = {
    "Changes by operation",
    "Changes inside windows",
    "Bytes by writer",
    "Holding the lock",
    "How long users waited for a lost turn",
    "Length of windows",
    "Model latency",
    "Question to answer",
    "Question to moved fence",
    "Turns that went on",
    "Waiting for the lock",
    "Windows by kind of run",
}
"""Panels without data while a healthy gateway does nothing. Each says why."""


def _result(hour: Hour, query: Asked, start: float, end: float) -> list[dict[str, Any]]:
    expression = filled(query.target["expr"], RATE_INTERVAL, f"{max(1, int(end - start))}s")
    if query.target.get("instant"):
        return hour.prometheus.query(expression, end)
    return hour.prometheus.query_range(expression, start, end, SCRAPE_SECONDS)


@pytest.mark.timeout(180)  # the hour itself, once
@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_a_query_gives_data_after_an_hour_with_everything_in_it(query: Asked, hour: Hour) -> None:
    found = _result(hour, query, hour.begin, hour.end)

    assert has_data(found), query.target["expr"]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_a_panel_that_is_empty_on_a_healthy_idle_system_says_why(query: Asked, hour: Hour) -> None:
    found = _result(hour, query, hour.begin, hour.calm)

    assert query.panel["fieldConfig"]["defaults"]["noValue"]
    assert has_data(found) == (query.panel["title"] not in EMPTY_WHEN_IDLE), query.target["expr"]


def test_a_panel_that_may_be_empty_has_words_of_its_own() -> None:
    said = {query.panel["title"]: query.panel["fieldConfig"]["defaults"]["noValue"] for query in QUERIES}

    assert {title for title in EMPTY_WHEN_IDLE if said[title] == "none in this time: nothing is wrong"} == set()


def test_the_hour_had_everything_in_it(hour: Hour) -> None:
    """Or else the panels would have been tried on nothing."""

    def counted(metric: str, **labels: str) -> float:
        chosen = ", ".join(f'{name}="{value}"' for name, value in labels.items())
        (found,) = hour.prometheus.query(f"sum({metric}{{{chosen}}})", hour.end)
        return float(found["value"][1])

    assert counted("openclaw_sidecar_incidents_total", verdict="co_tenant") >= 8
    assert counted("openclaw_sidecar_incidents_total", verdict="external") == 2
    assert counted("openclaw_sidecar_incidents_total", verdict="unattributed") >= 1
    assert counted("openclaw_sidecar_incidents_total", verdict="unchanged") == 1
    assert counted("openclaw_sidecar_recovery_commands_total", way="pushed") >= 4
    assert counted("openclaw_sidecar_recovery_commands_total", way="asked") >= 4
    assert counted("openclaw_sidecar_watch_overflows_total") >= 1
    assert counted("openclaw_sidecar_session_stalls_total") == 3
    assert counted("openclaw_sidecar_pages_total", outcome="sent") >= 1
    assert hour.answered.count(False) >= 3
    assert hour.answered.count(True) >= 12


def test_the_first_foreign_change_of_a_sidecar_is_on_the_panel_of_who_writes(hour: Hour) -> None:
    """Its series begins with it: increase() alone would never show it."""
    (query,) = [query for query in QUERIES if query.panel["title"] == "Changes inside windows"]
    shown = {series["metric"]["writer_kind"]: series["values"] for series in _result(hour, query, hour.begin, hour.end)}

    assert max(float(value) for _, value in shown["foreign"]) >= 1


def test_the_share_of_turns_that_went_on_counts_every_lost_one(hour: Hour) -> None:
    (query,) = [query for query in QUERIES if query.panel["title"] == "Turns that went on"]
    (sample,) = _result(hour, query, hour.begin, hour.end)
    lost = hour.answered.count(False)

    assert float(sample["value"][1]) <= 1 - lost / len(hour.answered)


def test_the_alert_on_takeovers_fires_and_no_label_of_it_is_an_id(hour: Hour) -> None:
    found = hour.prometheus.query(
        'last_over_time(ALERTS{alertname="OpenClawSessionTakeover", alertstate="firing"}[1h])', hour.end
    )

    assert [set(sample["metric"]) - {"__name__", "alertstate"} for sample in found] == [
        {"alertname", "instance", "job", "severity"}
    ]
