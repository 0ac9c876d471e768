"""The Alertmanager example: who is told what, and what is held back, asked of the real ones."""

from collections.abc import Iterator

import pytest

from tests.alerts.shipped import ALERTMANAGER, alerts, load
from tests.servers.alertmanager import Alertmanager
from tests.servers.tools import amtool

RECEIVERS = {"critical": "chat,on-call", "warning": "tickets", "none": "dead-man"}


def _alert(name: str, gateway: str = "gw-1:9464") -> dict[str, str]:
    severity = alerts()[f"OpenClaw{name}"]["labels"]["severity"]
    labels = {"alertname": f"OpenClaw{name}", "severity": severity}
    return labels if name == "Watchdog" else labels | {"job": "openclaw-sidecar", "instance": gateway}


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    """A real one with the shipped inhibition. It tells nobody: that would leave this machine."""
    config = load(ALERTMANAGER)
    quiet = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
    with Alertmanager(tmp_path_factory.mktemp("am"), quiet | {"inhibit_rules": config["inhibit_rules"]}) as running:
        yield running


def _held_back(alertmanager: Alertmanager, *firing: dict[str, str]) -> set[tuple[str, str]]:
    """Which of the firing alerts are inhibited, by name and gateway."""
    alertmanager.fire(*firing)
    try:
        return {
            (alert["labels"]["alertname"].removeprefix("OpenClaw"), alert["labels"].get("instance", ""))
            for alert in alertmanager.alerts()
            if alert["status"]["inhibitedBy"]
        }
    finally:
        alertmanager.resolve(*firing)


def test_amtool_finds_nothing_wrong() -> None:
    assert "SUCCESS" in amtool("check-config", ALERTMANAGER)


def test_there_is_a_receiver_of_each_kind() -> None:
    kinds = {key for receiver in load(ALERTMANAGER)["receivers"] for key in receiver if key != "name"}

    assert kinds == {f"{kind}_configs" for kind in ("pagerduty", "opsgenie", "slack", "email", "webhook")}


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_alert_goes_to_the_receivers_of_its_severity(name: str) -> None:
    labels = _alert(name.removeprefix("OpenClaw"))
    pairs = [f"{key}={value}" for key, value in labels.items()]
    wanted = f"--verify.receivers={RECEIVERS[labels['severity']]}"

    amtool("config", "routes", "test", f"--config.file={ALERTMANAGER}", wanted, *pairs)


def test_messages_are_grouped_by_gateway() -> None:
    route = load(ALERTMANAGER)["route"]

    assert route["group_by"] == ["job", "instance"]
    assert all("group_by" not in below for below in route["routes"] if below["receiver"] != "dead-man")


def test_degraded_attribution_holds_back_unattributed_changes_of_the_same_gateway(alertmanager: Alertmanager) -> None:
    firing = [_alert("AttributionDegraded"), _alert("UnattributedChanges"), _alert("UnattributedChanges", "gw-2:9464")]

    assert _held_back(alertmanager, *firing) == {("UnattributedChanges", "gw-1:9464")}


def test_a_takeover_holds_back_lost_turns_of_the_same_gateway(alertmanager: Alertmanager) -> None:
    firing = [_alert("SessionTakeover"), _alert("TurnsLost"), _alert("TurnsLost", "gw-2:9464")]

    assert _held_back(alertmanager, *firing) == {("TurnsLost", "gw-1:9464")}


def test_a_sidecar_that_is_down_holds_back_the_rest_but_never_a_takeover(alertmanager: Alertmanager) -> None:
    names = [name.removeprefix("OpenClaw") for name in alerts()]
    firing = [_alert(name) for name in names] + [_alert("SessionStalled", "gw-2:9464")]

    kept = {"SidecarDown", "SessionTakeover", "Watchdog"}
    assert _held_back(alertmanager, *firing) == {(name, "gw-1:9464") for name in names if name not in kept}


def test_without_a_cause_nothing_is_held_back(alertmanager: Alertmanager) -> None:
    firing = [_alert("UnattributedChanges"), _alert("TurnsLost"), _alert("SessionStalled"), _alert("Watchdog")]

    assert _held_back(alertmanager, *firing) == set()
