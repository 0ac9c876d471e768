"""The gateway with its own OpenTelemetry plugin.

`@openclaw/diagnostics-otel` is published apart from the gateway, and not everywhere to be had. Its service, the part
that makes and exports spans, is in the gateway's package all the same (2026.7.35). So the plugin here is that service,
byte for byte, behind an entry of ours that registers it, among the bundled plugins of a copy of the package.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sidecar.demo.packages import GatewayPackage

PLUGIN: Final = "diagnostics-otel"
_EXPORT: Final = re.compile(r"export \{ createDiagnosticsOtelService as (\w+) \}")


class PluginMissingError(LookupError):
    """This release's package does not hold the plugin's service."""


def with_plugin(package: GatewayPackage, directory: Path) -> GatewayPackage:
    """A copy of an installed release that has the plugin; everything but OpenClaw itself is linked to.

    Raises:
        PluginMissingError: The release's package does not hold it.
    """
    source = package.root / "node_modules"
    chunk, name = _service(source / "openclaw" / "dist")
    modules = directory / "node_modules"
    modules.mkdir(parents=True)
    for entry in source.iterdir():
        if entry.name != "openclaw":
            (modules / entry.name).symlink_to(entry)
    shutil.copytree(source / "openclaw", modules / "openclaw", symlinks=True, copy_function=_link_or_copy)
    plugin = modules / "openclaw" / "dist" / "extensions" / PLUGIN
    plugin.mkdir()
    manifest = {"id": PLUGIN, "activation": {"onStartup": True}, "configSchema": {"type": "object", "properties": {}}}
    described = {"name": f"@openclaw/{PLUGIN}", "version": package.version, "type": "module"}
    (plugin / "openclaw.plugin.json").write_text(json.dumps(manifest))
    (plugin / "package.json").write_text(json.dumps({**described, "openclaw": {"extensions": ["./index.js"]}}))
    (plugin / "index.js").write_text(
        f'import {{ {name} as service }} from "../../{chunk}";\n'
        f'export default {{ id: "{PLUGIN}", name: "OpenTelemetry", description: "", configSchema: {{}},\n'
        "  register(api) { api.registerService(service()); } };\n"
    )
    return GatewayPackage(package.version, directory)


def plugin_settings(endpoint: str) -> Mapping[str, Any]:
    """What an operator writes into the gateway's configuration (its docs/gateway/opentelemetry.md)."""
    return {
        "plugins": {"enabled": True, "allow": [PLUGIN], "entries": {PLUGIN: {"enabled": True}}},
        "diagnostics": {
            "enabled": True,
            "otel": {"enabled": True, "endpoint": endpoint, "protocol": "http/protobuf", "metrics": False},
        },
    }


def _service(dist: Path) -> tuple[str, str]:
    for chunk in sorted(dist.glob("runtime-api-*.js")):
        found = _EXPORT.search(chunk.read_text(encoding="utf-8"))
        if found:
            return chunk.name, found[1]
    raise PluginMissingError(f"no chunk of {dist} holds the service of {PLUGIN}")


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
