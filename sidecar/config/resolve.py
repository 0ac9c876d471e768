"""Flags over environment over file over defaults."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.config.settings import (
    HTTP_HOST,
    HTTP_PORT,
    METRICS_PORT,
    LogFormat,
    Settings,
    Who,
    default_data_dir,
    default_socket,
    default_state_dir,
    home,
)
from sidecar.config.toml import from_toml
from sidecar.config.values import Given, from_environment
from sidecar.core.policy.policy import Mode

KINDS: Final[dict[str, type]] = {
    "state_dir": str,
    "data_dir": str,
    "socket": str,
    "http": str,
    "http_names": tuple,
    "metrics": str,
    "observe": bool,
    "notify": tuple,
    "log_format": str,
    "who": str,
    "simulate_loss": str,
    "policy": str,
    "gateway_uid": tuple,
    "hooks_token_file": str,
    "api_token_file": str,
}
"""Every setting. Its flag is ``--state-dir`` and so on, its variable ``OPENCLAW_SIDECAR_STATE_DIR`` and so on."""

PREFIX: Final = "OPENCLAW_SIDECAR_"
_VARIABLES: Final = {"OPENCLAW_STATE_DIR": "state_dir"} | {PREFIX + key.upper(): key for key in KINDS}
"""OpenClaw's own variable is the weaker one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the command line said; None or empty where it said nothing."""

    state_dir: str | None = None
    data_dir: str | None = None
    socket: str | None = None
    http: str | None = None
    metrics: str | None = None
    observe: bool | None = None
    notify: tuple[str, ...] = ()
    who: str | None = None
    simulate_loss: str | None = None
    policy: str | None = None
    gateway_uid: tuple[str, ...] = ()
    config: str | None = None

    def given(self) -> dict[str, Given]:
        """The flags that were used."""
        said = {key: getattr(self, key, None) for key in KINDS}
        return {
            key: Given(value, f"--{key.replace('_', '-')}", usage=True)
            for key, value in said.items()
            if value is not None and value != ()
        }


def resolve(flags: Flags, environ: Mapping[str, str]) -> Settings:
    """The settings in force.

    Reads the configuration file and nothing else; `sidecar.config.checks` looks whether a sidecar can start.

    Raises:
        ConfigError: A value, or the file, cannot be used.
    """
    given = _file(flags, environ) | from_environment(environ, _VARIABLES) | flags.given()
    at_home = home(environ)

    def path(key: str, default: Path) -> Path:
        return given[key].path(at_home) if key in given else default.absolute()

    state_dir = path("state_dir", default_state_dir(environ))
    host, port = given["http"].address() if "http" in given else (HTTP_HOST, HTTP_PORT)
    metrics_host, metrics_port = given["metrics"].address() if "metrics" in given else (HTTP_HOST, METRICS_PORT)
    return Settings(
        state_dir=state_dir,
        data_dir=path("data_dir", default_data_dir(state_dir, environ)),
        socket=path("socket", default_socket(state_dir)),
        http_host=host,
        http_port=port,
        http_names=given["http_names"].texts() if "http_names" in given else (),
        metrics_host=metrics_host,
        metrics_port=metrics_port,
        mode=Mode.OBSERVE if "observe" in given and given["observe"].truth() else Mode.RECOVER,
        notify=given["notify"].texts() if "notify" in given else (),
        log_format=given["log_format"].choice(LogFormat) if "log_format" in given else LogFormat.AUTO,
        who=given["who"].choice(Who) if "who" in given else Who.REPORTS,
        simulate_loss=given["simulate_loss"].share() if "simulate_loss" in given else 0.0,
        policy=given["policy"].path(at_home) if "policy" in given else None,
        gateway_uids=given["gateway_uid"].uids() if "gateway_uid" in given else frozenset(),
        hooks_token=given["hooks_token_file"].path(at_home) if "hooks_token_file" in given else None,
        api_token=given["api_token_file"].path(at_home) if "api_token_file" in given else None,
    )


def _file(flags: Flags, environ: Mapping[str, str]) -> dict[str, Given]:
    if flags.config is not None:
        named = Given(flags.config, "--config", usage=True)
    elif environ.get(f"{PREFIX}CONFIG"):
        named = Given(environ[f"{PREFIX}CONFIG"], f"{PREFIX}CONFIG")
    else:
        return {}
    return from_toml(named.path(home(environ)), KINDS)
