"""The rules: what Prometheus's own tool says of them, and what on-call may expect of each alert."""

import re
from typing import Any

import pytest

from tests.alerts.shipped import (
    ALERTMANAGER,
    PROMETHEUS,
    RULE_TESTS,
    RULES,
    RUNBOOK_BASE,
    RUNBOOKS,
    alerts,
    load,
    rules,
    seconds,
)
from tests.servers.tools import promtool
from tests.telemetry.test_documentation import table, ticked

NAMES = sorted(alerts())
YES_OR_NO = {"OpenClawSidecarDown", "OpenClawRecoveryStorm", "OpenClawPolicyRefused"}
"""Alerts whose value says no more than their name."""


def _cases(name: str) -> list[dict[str, Any]]:
    found = [case for test in load(RULE_TESTS)["tests"] for case in test["alert_rule_test"]]
    return [case for case in found if case["alertname"] == name]


def test_promtool_finds_nothing_wrong_with_the_rules_and_the_configuration() -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert "SUCCESS" in promtool("check", "config", PROMETHEUS)


def test_every_alert_fires_with_its_labels_and_texts_and_only_when_it_must() -> None:
    assert "SUCCESS" in promtool("test", "rules", RULE_TESTS)


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_is_tested_where_it_fires_and_where_it_does_not(name: str) -> None:
    fires = [case for case in _cases(name) if case["exp_alerts"]]
    silent = [case for case in _cases(name) if not case["exp_alerts"]]

    assert fires
    assert silent or name == "OpenClawWatchdog"


def test_the_alerts_are_those_that_were_asked_for() -> None:
    critical = {"SessionTakeover", "TurnsLost", "RecoveryIneffective", "RecoveryStorm", "SidecarDown", "DatabaseBroken"}
    critical |= {"RecordsChanged"}
    warning = {"UnattributedChanges", "AttributionDegraded", "SessionStalled", "LockHeldTooLong", "DatabaseBusy"}
    warning |= {"DatabaseAtRisk", "TurnsLostUnfenced"}
    warning |= {"PolicyRefused", "RecoveryBudgetExhausted", "PreloadMissing", "PageDeliveryFailing"}
    expected = dict.fromkeys(critical, "critical") | dict.fromkeys(warning, "warning") | {"Watchdog": "none"}

    found = {name.removeprefix("OpenClaw"): rule["labels"]["severity"] for name, rule in alerts().items()}

    assert found == expected


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_has_a_fixed_summary_a_description_with_values_and_a_runbook(name: str) -> None:
    rule = alerts()[name]
    notes = rule["annotations"]

    assert set(notes) == {"summary", "description", "runbook_url"}
    assert "{{" not in notes["summary"]
    assert notes["summary"].endswith(".")
    if name != "OpenClawWatchdog":
        assert "{{ $labels.instance }}" in notes["description"]
        assert "openclaw-sidecar" in notes["description"]
        assert ("{{ $value" in notes["description"]) == (name not in YES_OR_NO)
    assert notes["runbook_url"] == f"{RUNBOOK_BASE}/{name}.md"
    assert (RUNBOOKS / f"{name}.md").is_file()
    assert set(rule["labels"]) == {"severity"}


def test_every_metric_that_a_rule_reads_is_a_documented_one() -> None:
    documented = {name for row in table("metric | in Prometheus") for name in ticked(row[1])}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        read = set(re.findall(r"(?<![:\w])openclaw_sidecar_\w+", rule["expr"]))
        assert read <= documented, rule
        assert set(re.findall(r"\w+:openclaw_sidecar_\w+:\w+", rule["expr"])) <= recorded, rule


def test_a_foreign_write_reaches_the_receiver_within_45_seconds_at_the_shipped_intervals() -> None:
    shipped = load(PROMETHEUS)["global"]
    (group,) = load(RULES)["groups"]
    takeover = alerts()["OpenClawSessionTakeover"]
    waits = [
        seconds(shipped["scrape_interval"]),
        seconds(shipped["scrape_timeout"]),
        seconds(group["interval"]),
        seconds(takeover.get("for", "0s")),
        seconds(load(ALERTMANAGER)["route"]["group_wait"]),
    ]

    assert "for" not in takeover
    assert sum(waits) <= 45 - 5  # what is left is for the messages themselves
    assert not {"group_wait", "group_interval"} & set(load(ALERTMANAGER)["route"]["routes"][2])
