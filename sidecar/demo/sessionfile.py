"""A session file on stage: its records, and another process that writes to it."""

import asyncio
import json
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sidecar.core.custody.lineage import HEADER, LEAF, path_to_root
from sidecar.demo.errors import ForeignActError
from sidecar.watch.records import read_records

_APPEND: Final = "import sys; open(sys.argv[1], 'ab', buffering=0).write(sys.stdin.buffer.read())"


def record_line(file: Path, role: str, text: str) -> bytes:
    """A message that hangs on the last record of the conversation, as a line for the end of the file."""
    path = path_to_root(read_records(file)[0]) if file.exists() else ()
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    content = [{"type": "text", "text": text}]
    message: dict[str, Any] = {"role": role, "content": content, "timestamp": time.time_ns() // 1_000_000}
    own = {"type": "message", "id": uuid.uuid4().hex[:8], "parentId": path[-1] if path else None, "timestamp": stamp}
    return json.dumps({**own, "message": message}, separators=(",", ":")).encode() + b"\n"


def lost_records(file: Path) -> int:
    """How many records are in the file but no longer in the conversation, between its root and its leaf."""
    records, _ = read_records(file)
    kept = set(path_to_root(records))
    return sum(record.kind not in {HEADER, LEAF} and record.record_id not in kept for record in records)


async def append_as_stranger(file: Path) -> None:
    """Have a process that the gateway knows nothing of append a user's message.

    Raises:
        ForeignActError: It could not.
    """
    line = record_line(file, "user", "A stranger was here.")
    pipe = asyncio.subprocess.PIPE
    stranger = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-c", _APPEND, str(file)), stdin=pipe, stderr=pipe
    )
    _, errors = await stranger.communicate(line)
    if stranger.returncode:
        raise ForeignActError("append", errors.decode("utf-8", "replace"))
