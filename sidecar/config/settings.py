"""The settings of a sidecar, resolved."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from sidecar.config.token import TokenKind
from sidecar.core.policy.policy import Mode

SOCKET_NAME: Final = "openclaw-sidecar.sock"
"""In the state directory, where the preload looks for it by itself."""

HTTP_HOST: Final = "127.0.0.1"
HTTP_PORT: Final = 9465
METRICS_PORT: Final = 9464
"""The port that OpenTelemetry's Prometheus exporters use by default."""

_DIGITS: Final = 12


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"
    """For people on a terminal, JSON elsewhere."""
    CONSOLE = "console"
    JSON = "json"


class Who(StrEnum):
    """Where it is known from who wrote."""

    REPORTS = "reports"
    """From the gateways' reports alone."""
    KERNEL = "kernel"
    """From these and from the kernel (fanotify), which needs CAP_SYS_ADMIN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a sidecar runs with. Paths are absolute.

    Attributes:
        state_dir: OpenClaw's state directory.
        data_dir: The sidecar's own directory: store and runtime file.
        socket: Where gateways link.
        http_host: Address of the API; loopback unless asked for otherwise.
        http_port: Its port; 0 for any that is free.
        http_names: Host names that it goes by besides those of loopback.
        metrics_host: Address for scrapers and probes; loopback unless asked for otherwise.
        metrics_port: Their port; 0 for any that is free.
        mode: What is done with a verdict.
        notify: Apprise URLs that are paged; they may hold secrets, so they are never shown.
        log_format: How log lines look.
        who: Where it is known from who wrote.
        simulate_loss: Share of events and reports that are lost on purpose, for tests.
        policy: The policy file; None for the built-in policy.
        gateway_uids: Users whose gateways may link, besides the sidecar's own.
        hooks_token: Where the secret of `/v1/hooks` is kept; None for the data directory.
        api_token: Where the secret of the rest of the API is kept; None for the data directory.
    """

    state_dir: Path
    data_dir: Path
    socket: Path
    http_host: str = HTTP_HOST
    http_port: int = HTTP_PORT
    http_names: tuple[str, ...] = ()
    metrics_host: str = HTTP_HOST
    metrics_port: int = METRICS_PORT
    mode: Mode = Mode.RECOVER
    notify: tuple[str, ...] = field(default=(), repr=False)
    log_format: LogFormat = LogFormat.AUTO
    who: Who = Who.REPORTS
    simulate_loss: float = 0.0
    policy: Path | None = None
    gateway_uids: frozenset[int] = frozenset()
    hooks_token: Path | None = None
    api_token: Path | None = None

    @property
    def hooks_token_file(self) -> Path:
        """Where the secret of `/v1/hooks` is kept."""
        return self.hooks_token or self.data_dir / TokenKind.HOOKS.file_name

    @property
    def api_token_file(self) -> Path:
        """Where the secret of the rest of the API is kept."""
        return self.api_token or self.data_dir / TokenKind.API.file_name


def home(environ: Mapping[str, str]) -> Path:
    """The user's home directory, as Node.js finds it."""
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """Where OpenClaw keeps its state unless told otherwise."""
    return home(environ) / ".openclaw"


def default_data_dir(state_dir: Path, environ: Mapping[str, str]) -> Path:
    """A directory of its own for each state directory, so that two sidecars never share a store."""
    base = Path(environ["XDG_STATE_HOME"]) if environ.get("XDG_STATE_HOME") else home(environ) / ".local" / "state"
    resolved = os.path.realpath(state_dir)  # Path.resolve() raises on a loop of links, which others report better
    digest = hashlib.sha256(os.fsencode(resolved)).hexdigest()
    return base / "openclaw-sidecar" / digest[:_DIGITS]


def default_socket(state_dir: Path) -> Path:
    """Where the preload looks unless told otherwise."""
    return state_dir / SOCKET_NAME
