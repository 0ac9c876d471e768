"""The gateway's configuration: one slow model, nothing that a session on loopback does not need."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sidecar.demo.model import MODEL_ID
from sidecar.demo.packages import GatewayPackage
from sidecar.demo.plugins import no_plugins

TOKEN: Final = "loopback-only"  # noqa: S105 - the gateway listens on loopback, and only for as long as the rig lives

_REFUSES: Final = frozenset({"2026.8.1", "2026.8.2", "2026.9.1"})
"""With state of an earlier release these do not start with keys that they have retired."""


def write_configuration(
    state_dir: Path,
    workspace: Path,
    port: int,
    model_url: str,
    settings: Mapping[str, Any] | None = None,
    *,
    version: str,
) -> Mapping[str, Any]:
    """Write ``openclaw.json``.

    Plugins, the browser's pages, discovery and the look-ups of updates and prices are off: each costs start-up time or
    reaches out of this machine, and none of them writes a session file.

    Args:
        state_dir: The gateway's state directory.
        workspace: The agent's working directory.
        port: Where the gateway listens.
        model_url: Address of the model's API.
        settings: Laid over all of that; objects are merged.
        version: The release that reads it.

    Returns:
        What it wrote.
    """
    configuration: dict[str, Any] = {
        "gateway": {
            "mode": "local",
            "bind": "loopback",
            "port": port,
            "auth": {"mode": "token", "token": TOKEN},
            "controlUi": {"enabled": False},
            "http": {"endpoints": {"chatCompletions": {"enabled": True}}},
        },
        "agents": {
            "defaults": {
                "workspace": str(workspace),
                "model": {"primary": f"rig/{MODEL_ID}"},
                "heartbeat": {"every": "0m"},
                "skipBootstrap": True,
            },
        },
        "models": {
            "mode": "merge",
            "providers": {
                "rig": {"baseUrl": model_url, "apiKey": "none", "api": "openai-completions", "models": [_model()]},
            },
        },
        "plugins": no_plugins(version),
        "discovery": {"mdns": {"mode": "off"}},
        "update": {"checkOnStart": False},
        "logging": {"file": str(state_dir / "gateway.log")},
    }
    if version not in _REFUSES:
        configuration["models"]["pricing"] = {"enabled": False}
        # Redaction takes a session id that ends in digits for a secret, and tests look for session files in the log.
        configuration["logging"]["redactSensitive"] = "off"
    merged = _merged(configuration, settings or {})
    (state_dir / "openclaw.json").write_text(json.dumps(merged, indent=2))
    return merged


def startup_environment(package: GatewayPackage) -> dict[str, str]:
    """Environment variables that make a gateway start sooner.

    The compile cache is kept beside the package (it would be made anew in each work directory); the second variable
    keeps the launcher from starting itself again over where that cache is. The pre-warming of the model only competes
    with the first turn. (Without its bundled plugins a gateway starts 2 s sooner still, but turns of 2026.5 and
    commands of 2026.7 fail.)
    """
    return {
        "NODE_COMPILE_CACHE": str(package.root / "compile-cache"),
        "OPENCLAW_PACKAGED_COMPILE_CACHE_RESPAWNED": "1",
        "OPENCLAW_SKIP_STARTUP_MODEL_PREWARM": "1",
    }


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = {key: _merged(base[key], over[key]) for key in base.keys() & over.keys() if isinstance(base[key], dict)}
    return {**base, **over, **both}


def _model() -> dict[str, object]:
    return {
        "id": MODEL_ID,
        "name": "Slow",
        "reasoning": False,
        "input": ["text"],
        "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0},
        "contextWindow": 128_000,
        "maxTokens": 4096,
    }
