"""The dashboards as files: no drift, and what a person may expect of each panel."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dashboards.__main__ import drifted, files, main
from tests.alerts.shipped import rules
from tests.dashboards.grafana import FILES, asked, load, panels
from tests.telemetry.test_documentation import first_column, table, ticked

PANELS = [(path.stem, panel) for path in FILES for panel in panels(load(path))]
IDS = [f"{board}: {panel['title']}" for board, panel in PANELS]
each_panel = pytest.mark.parametrize(("board", "panel"), PANELS, ids=IDS)
each_board = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def test_the_committed_files_are_what_the_code_says() -> None:
    assert drifted() == [], "run make dashboards"
    assert set(files()) == set(FILES)
    assert main(["--check"]) == 0


def test_a_file_that_differs_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("dashboards.__main__.files", lambda: {FILES[0]: "{}"})

    assert main(["--check"]) == 1
    assert FILES[0].name in capsys.readouterr().err


@each_board
def test_a_board_has_variables_for_its_data_sources_and_the_gateway(path: Path) -> None:
    variables = {variable["name"]: variable for variable in load(path)["templating"]["list"]}

    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    assert (variables["traces"]["type"], variables["traces"]["query"]) == ("datasource", "tempo")
    assert variables["gateway"]["includeAll"]
    assert ("agent" in variables) == (path.stem == "openclaw-sessions")
    assert ({"trace", "session"} <= set(variables)) == (path.stem == "openclaw-one-session")


@each_board
def test_ids_are_unique_and_no_panels_overlap(path: Path) -> None:
    found = load(path)["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in found)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len({panel["id"] for panel in found}) == len(found)
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


@each_panel
def test_a_panel_has_a_description_words_for_no_data_a_unit_and_a_way_to_the_traces(
    board: str, panel: dict[str, Any]
) -> None:
    defaults = panel["fieldConfig"]["defaults"]

    assert len(panel["description"]) > 10
    assert defaults["noValue"]
    if panel["type"] != "traces":
        assert defaults["unit"]
        assert defaults["thresholds"]["steps"][0]["color"] == "green"
    (link,) = panel["links"]
    address = urlsplit(link["url"])
    assert address.path == "/explore"
    assert "traceql" in parse_qs(address.query)["panes"][0]
    assert "${traces}" in link["url"]
    assert all(target["datasource"]["uid"] in {"${datasource}", "${traces}"} for target in panel["targets"])


def test_every_metric_of_a_panel_is_documented_or_recorded_by_the_shipped_rules() -> None:
    documented = {name for row in table("metric | in Prometheus") for name in ticked(row[1])}
    documented |= {f"{name}_{part}" for name in documented for part in ("bucket", "count", "sum")}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    of_prometheus = {"up", "scrape_duration_seconds"}
    for query in asked():
        read = set(re.findall(r"([\w:]+)\{", query.target["expr"]))
        assert read, query.name
        assert read <= of_prometheus | documented | recorded, query.name


def test_what_a_panel_and_an_alert_share_is_recorded() -> None:
    """An alert's own numbers are what the dashboard shows: every recording is on a panel."""
    shown = " ".join(query.target["expr"] for query in asked())
    recorded = {rule["record"] for rule in rules() if "record" in rule}

    assert {name for name in recorded if name not in shown} == {
        "instance_verdict:openclaw_sidecar_incidents:increase15m"
    }


def test_every_attribute_that_is_asked_of_traces_is_documented() -> None:
    documented = set(first_column("attribute | on"))
    for query in asked("tempo"):
        read = set(re.findall(r"span\.([\w.]+)", query.target["query"]))
        assert read <= documented, query.name
