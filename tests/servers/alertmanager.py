"""A real Alertmanager."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.servers.binaries import find, require
from tests.servers.process import Server


class Alertmanager(Server):
    """Alertmanager with a configuration, alone.

    Args:
        work_dir: Gets configuration, data and log.
        config: The configuration as Alertmanager has it, or its text.
    """

    def __init__(self, work_dir: Path, config: Mapping[str, Any] | str) -> None:
        require("alertmanager")
        super().__init__("alertmanager", work_dir)
        self.config = config

    def start(self) -> None:
        """Write the configuration and start."""
        self.work_dir.mkdir(parents=True, exist_ok=True)
        text = self.config if isinstance(self.config, str) else json.dumps(self.config, indent=2)
        (self.work_dir / "alertmanager.yml").write_text(text)
        super().start()

    def alerts(self) -> list[dict[str, Any]]:
        """What it knows now, the silenced and inhibited alerts included (``status`` tells)."""
        found: list[dict[str, Any]] = self.get("/api/v2/alerts")
        return found

    def fire(self, *alerts: Mapping[str, str], annotations: Mapping[str, str] | None = None) -> None:
        """Tell it of alerts, by their labels, as Prometheus does."""
        ends = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
        body = [{"labels": dict(a), "annotations": dict(annotations or {}), "endsAt": ends} for a in alerts]
        self.post("/api/v2/alerts", body)

    def resolve(self, *alerts: Mapping[str, str]) -> None:
        """Tell it that alerts are over."""
        now = datetime.now(UTC)
        begun, ended = (now - timedelta(minutes=1)).isoformat(), now.isoformat()
        self.post("/api/v2/alerts", [{"labels": dict(a), "startsAt": begun, "endsAt": ended} for a in alerts])

    def _command(self, address: str) -> Sequence[str]:
        return (
            find("alertmanager"),
            f"--config.file={self.work_dir / 'alertmanager.yml'}",
            f"--storage.path={self.work_dir / 'data'}",
            f"--web.listen-address={address}",
            "--cluster.listen-address=",  # else it listens on every interface
        )
