"""The JSON Schema of the wire."""

from typing import Any

import msgspec

from sidecar.json_layout import layout
from sidecar.wire.messages import PROTOCOL, GatewayMessage, SidecarMessage


def json_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) with the two directions as ``$defs``."""
    (gateway, sidecar), components = msgspec.json.schema_components(
        (GatewayMessage, SidecarMessage), ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"openclaw-sidecar wire protocol {PROTOCOL}",
        "oneOf": [{"$ref": "#/$defs/GatewayMessage"}, {"$ref": "#/$defs/SidecarMessage"}],
        "$defs": {"GatewayMessage": gateway, "SidecarMessage": sidecar, **components},
    }


if __name__ == "__main__":
    import sys

    sys.stdout.write(layout(json_schema()))
