"""Where the running sidecar can be asked: a small file in its data directory, which the CLI reads."""

from pathlib import Path
from typing import Final

import msgspec

RUNTIME_NAME: Final = "runtime.json"


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """A running sidecar.

    Attributes:
        pid: Its process.
        http: Host and port of its API.
        metrics: Host and port for scrapers and probes.
        socket: Where gateways link.
        started_at_ns: Nanoseconds since the epoch.
        version: Its version.
    """

    pid: int
    http: str
    metrics: str = ""
    socket: str = ""
    started_at_ns: int = 0
    version: str = ""


def read_runtime(data_dir: Path) -> Runtime | None:
    """What the running sidecar wrote; None where none runs, or the file is not to be read.

    A sidecar that was killed leaves the file behind: whether it still answers has to be tried.
    """
    try:
        return msgspec.json.decode((data_dir / RUNTIME_NAME).read_bytes(), type=Runtime)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
