"""A real Prometheus."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.servers.binaries import find, require
from tests.servers.process import Server, ServerError

_POLL_SECONDS = 0.05


class Prometheus(Server):
    """Prometheus with a configuration.

    Args:
        work_dir: Gets configuration, data and log.
        config: The configuration as Prometheus has it; paths in it are taken from ``work_dir``.
        options: More options of the command line.
    """

    def __init__(self, work_dir: Path, config: Mapping[str, Any], options: Sequence[str] = ()) -> None:
        require("prometheus")
        super().__init__("prometheus", work_dir)
        self.config = dict(config)
        self._options = tuple(options)

    def start(self) -> None:
        """Write the configuration and start."""
        self._write()
        super().start()

    def reload(self) -> None:
        """Write the configuration again, and have it read."""
        self._write()
        super().reload()

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The samples of an instant query, at a Unix time or now.

        Raises:
            ServerError: It cannot be evaluated.
        """
        asked = {"query": expression} | ({} if at is None else {"time": f"{at:.3f}"})
        return self._result(f"/api/v1/query?{urlencode(asked)}")

    def query_range(self, expression: str, start: float, end: float, step_seconds: float) -> list[dict[str, Any]]:
        """The series of a range query between two Unix times.

        Raises:
            ServerError: It cannot be evaluated.
        """
        asked = {"query": expression, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step_seconds}"}
        return self._result(f"/api/v1/query_range?{urlencode(asked)}")

    def value(self, expression: str) -> float | None:
        """The value of the only sample of an instant query; None when there is none."""
        found = self.query(expression)
        if len(found) > 1:
            raise AssertionError(f"{expression} has {len(found)} samples: {found}")
        return float(found[0]["value"][1]) if found else None

    def alerts(self) -> list[dict[str, Any]]:
        """Alerts that are pending or firing."""
        found: list[dict[str, Any]] = self.get("/api/v1/alerts")["data"]["alerts"]
        return found

    def wait_for(self, expression: str, timeout_seconds: float = 20.0) -> list[dict[str, Any]]:
        """Wait until a query has a result, and return it.

        Raises:
            TimeoutError: It has none in time.
        """
        until = time.monotonic() + timeout_seconds
        while time.monotonic() < until:
            if found := self.query(expression):
                return found
            time.sleep(_POLL_SECONDS)
        raise TimeoutError(f"no result within {timeout_seconds:g} s: {expression}")

    def _result(self, path: str) -> list[dict[str, Any]]:
        answer = self.get(path)
        if answer["status"] != "success":
            raise ServerError(self._name, f"cannot evaluate: {answer.get('error')}", "")
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def _write(self) -> None:
        self.work_dir.mkdir(parents=True, exist_ok=True)
        # Every JSON text is a YAML text.
        (self.work_dir / "prometheus.yml").write_text(json.dumps(self.config, indent=2))

    def _command(self, address: str) -> Sequence[str]:
        return (
            find("prometheus"),
            f"--config.file={self.work_dir / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.work_dir / 'data'}",
            f"--web.listen-address={address}",
            *self._options,
        )
