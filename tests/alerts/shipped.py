"""What `alerts/` ships, as data."""

import re
from pathlib import Path
from typing import Any, Final

import yaml

ALERTS: Final = Path(__file__).parents[2] / "alerts"
RULES: Final = ALERTS / "openclaw.rules.yaml"
RULE_TESTS: Final = ALERTS / "tests" / "openclaw.test.yaml"
ALERTMANAGER: Final = ALERTS / "alertmanager.yml"
PROMETHEUS: Final = ALERTS / "prometheus.yml"
RUNBOOKS: Final = ALERTS / "runbooks"
RUNBOOK_BASE: Final = "https://runbooks.example/openclaw-sidecar"

_UNITS: Final = {"s": 1, "m": 60, "h": 3600}


def load(path: Path) -> dict[str, Any]:
    """A YAML file."""
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def rules() -> list[dict[str, Any]]:
    """Every rule."""
    return [rule for group in load(RULES)["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def seconds(duration: str) -> int:
    """A duration of Prometheus."""
    return sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)([smh])", duration))


def quick_rules(directory: Path) -> Path:
    """The rules, evaluated every second: for tests that do not ask how long it takes."""
    text = RULES.read_text(encoding="utf-8")
    assert text.count("interval: 10s") == 1
    directory.mkdir(parents=True, exist_ok=True)
    copy = directory / RULES.name
    copy.write_text(text.replace("interval: 10s", "interval: 1s"), encoding="utf-8")
    return copy
