"""The committed JSON, and Grafana's variables filled in."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dashboards.__main__ import HERE

FILES: Final = sorted(HERE.glob("*.json"))
METRICS: Final = "prometheus"


@dataclass(frozen=True)
class Asked:
    """One query of one panel."""

    board: str
    panel: dict[str, Any]
    target: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.board}: {self.panel['title']} ({self.target['refId']})"

    @property
    def plugin(self) -> str:
        return str(self.target["datasource"]["type"])


def load(path: Path) -> dict[str, Any]:
    """A dashboard."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Its panels, without the rows' titles."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def asked(plugin: str = METRICS) -> Iterator[Asked]:
    """Every query of a plugin, of every panel of every dashboard."""
    for path in FILES:
        board = load(path)
        for panel in panels(board):
            for target in panel["targets"]:
                found = Asked(board["uid"], panel, target)
                if found.plugin == plugin:
                    yield found


def filled(expression: str, rate_interval: str, over: str) -> str:
    """PromQL as Grafana sends it when all gateways and agents are chosen."""
    values = {"gateway": ".*", "agent": ".*", "__rate_interval": rate_interval, "__range": over}
    found = re.sub(r"\$(\w+)", lambda match: values[match[1]], expression)
    assert "$" not in found
    return found


def has_data(series: list[dict[str, Any]]) -> bool:
    """There is a number in it."""
    samples = [value for one in series for value in one.get("values", [one.get("value")])]
    return any(math.isfinite(float(sample[1])) for sample in samples)
