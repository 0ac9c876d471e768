"""The other process: run as a program, it does one thing to a session file and reports it as a line of JSON.

Usage: ``intruder.py VERB SESSION_FILE [TEXT]``. It imports nothing of this package, so that it is nobody's child of
the sidecar but a stranger with a pid of its own, as an editor or a sync tool would be.
"""

import json
import os
import secrets
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

from inotify_simple import INotify, flags


def _user_record(path: Path, text: str) -> bytes:
    parent = None
    if path.exists():
        for line in path.read_bytes().splitlines():
            parent = json.loads(line).get("id", parent) if line else parent
        if parent is not None and json.loads(path.read_bytes().splitlines()[0]).get("id") == parent:
            parent = None  # only the session's head is there, which is nobody's parent
    now = datetime.now(UTC)
    message = {
        "role": "user",
        "content": [{"type": "text", "text": text}],
        "timestamp": int(now.timestamp() * 1000),
    }
    stamp = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record = {"type": "message", "id": secrets.token_hex(4), "parentId": parent, "timestamp": stamp, "message": message}
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _write_at_end(path: Path, data: bytes) -> dict[str, int]:
    with path.open("ab", buffering=0) as file:
        file.write(data)
        return {"offset": file.tell() - len(data), "length": len(data)}


def append(path: Path, text: str) -> dict[str, int]:
    """Append a user's message that hangs on the last record, without a lock."""
    return _write_at_end(path, _user_record(path, text))


def append_under_lock(path: Path, text: str) -> dict[str, int]:
    """Wait until a writer is at work, and append at once.

    It is at work when it takes the lock, or, where the lock is held already, when it writes: 2026.7 has the waiting
    run itself hold the lock, and its co-tenants in the same process write all the same.
    """
    lock = path.with_name(f"{path.name}.lock")
    data = _user_record(path, text)
    with INotify() as inotify:
        inotify.add_watch(path.parent, flags.CREATE | flags.MODIFY)
        sign = path.name if lock.exists() else lock.name
        print(json.dumps({"armed": True}), flush=True)  # noqa: T201 - the line that the parent waits for
        while all(event.name != sign for event in inotify.read()):
            pass
    return {**_write_at_end(path, data), "under_lock": int(lock.exists())}


def touch(path: Path, _text: str) -> dict[str, int]:
    """Set the times to now."""
    os.utime(path)
    return {}


def chmod(path: Path, _text: str) -> dict[str, int]:
    """Flip the group's permission to read."""
    path.chmod(path.stat().st_mode ^ 0o040)
    return {}


def hard_link(path: Path, _text: str) -> dict[str, int]:
    """Give the file a second name."""
    os.link(path, path.with_name(f".{path.name}.{secrets.token_hex(4)}.link"))
    return {}


def replace_with_copy(path: Path, _text: str) -> dict[str, int]:
    """Put an identical copy in its place: another inode, the same bytes."""
    copy = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    shutil.copy2(path, copy)
    copy.replace(path)
    return {}


def rewrite_in_place(path: Path, _text: str) -> dict[str, int]:
    """Change letters of the last text, keep the length, and put the modification time back."""
    before = path.stat()
    data = path.read_bytes()
    marker = b'"text":"'
    offset = data.rindex(marker) + len(marker)
    length = next(i for i, byte in enumerate(data[offset:]) if not chr(byte).isalpha())
    with path.open("r+b", buffering=0) as file:
        file.seek(offset)
        file.write(data[offset : offset + length].swapcase())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return {"offset": offset, "length": length}


VERBS = {
    "append": append,
    "append-under-lock": append_under_lock,
    "touch": touch,
    "chmod": chmod,
    "hard-link": hard_link,
    "replace-with-copy": replace_with_copy,
    "rewrite-in-place": rewrite_in_place,
}


if __name__ == "__main__":
    done = VERBS[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
    print(json.dumps({"pid": os.getpid(), "exe": str(Path("/proc/self/exe").readlink()), **done}))  # noqa: T201 - its answer
