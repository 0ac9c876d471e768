"""Bundled plugins: left out, and listed where a user's install has them listed.

npm's install of OpenClaw writes a list of the bundled plugins into the user's state directory; a fresh state directory
has none. Without it 2026.5.18 to 2026.5.22 look through some ninety directories for each question about a plugin: two
seconds of each turn, and minutes after the start of 2026.5.22. (2026.5.28 and later are as fast without.)
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sidecar.demo.packages import GatewayPackage, release_month

PLUGIN_LIST: Final = Path("plugins", "installs.json")
"""Where it is, below the state directory."""
REFRESH: Final = ("plugins", "registry", "--refresh")
"""The command of OpenClaw that writes it."""
_MONTH: Final = (2026, 5)
_LAST_THAT_NEEDS_IT: Final = "2026.5.22"
_ASKS_EVERY_PROVIDER: Final = "2026.5.22"


def no_plugins(version: str) -> dict[str, Any]:
    """The part of the configuration that leaves every bundled plugin out.

    2026.5.22 asks each bundled model provider for credentials after its start. With plugins off it finds none that it
    may ask alone, takes that for no limit and loads all of them, once for each: two minutes of a blocked event loop.
    An allow list that names none of them says the same, and is obeyed.
    """
    return {"enabled": True, "allow": ["none"]} if version == _ASKS_EVERY_PROVIDER else {"enabled": False}


def kept_plugin_list(package: GatewayPackage, configuration: Mapping[str, Any]) -> Path | None:
    """Where the list is kept from one start to the next, beside the package; None where a release needs none.

    It holds absolute paths and which plugins the configuration enables, so there is one for each of both. The gateway
    itself checks all of that, and does without a list that does not fit.
    """
    if release_month(package.version) != _MONTH or package.version > _LAST_THAT_NEEDS_IT:
        return None
    named = [str(package.root), configuration.get("plugins"), configuration.get("channels")]
    digest = hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()
    return package.root / "plugin-lists" / f"{digest[:16]}.json"


def copy_whole(source: Path, target: Path, mark: str) -> None:
    """Copy a file that others may read or copy at the same time.

    Args:
        source: What to copy.
        target: The copy; its directory is created when missing.
        mark: Part of the name of the copy while it is not whole; no other copier may have the same.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{mark}")
    shutil.copyfile(source, partial)
    partial.replace(target)
