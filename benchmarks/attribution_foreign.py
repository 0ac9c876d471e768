"""A stranger: a process without lock and preload that does to session files what it is told, one JSON line for each."""

import json
import mmap
import os
import sys
from pathlib import Path


def append(file: Path, marker: str) -> None:
    """A whole record, as another program would add it."""
    with file.open("ab") as out:
        out.write(_record(marker))


def partial(file: Path, marker: str) -> None:
    """Half of a record."""
    with file.open("ab") as out:
        out.write(_record(marker)[:-20])


def overwrite(file: Path, _marker: str) -> None:
    """Other bytes in the place of old ones; the size stays."""
    with file.open("r+b") as out:
        out.seek(2)
        out.write(b"TYPE")


def mapped(file: Path, _marker: str) -> None:
    """The same through a mapping: no write call, and no event of one."""
    with file.open("r+b") as out, mmap.mmap(out.fileno(), 0) as memory:
        memory[2:6] = b"TYPE"


def regrow(file: Path, marker: str) -> None:
    """Cut the end off and write as many other bytes."""
    with file.open("r+b") as out:
        size = out.seek(0, os.SEEK_END)
        out.truncate(size - 30)
        out.seek(size - 30)
        out.write(marker.encode()[:29].ljust(29) + b"\n")


def replace(file: Path, marker: str) -> None:
    """A copy with one more record, moved into the place of the file."""
    copy = file.with_name(f"{marker}.tmp")
    copy.write_bytes(file.read_bytes() + _record(marker))
    copy.replace(file)


DEEDS = {request.__name__: request for request in (append, partial, overwrite, mapped, regrow, replace)}


def _record(marker: str) -> bytes:
    record = {"id": marker, "parentId": None, "type": "message", "message": {"role": "user", "content": []}}
    return json.dumps(record).encode() + b"\n"


def main() -> None:
    """Obey until the input ends."""
    print(json.dumps({"id": "ready"}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        DEEDS[command["deed"]](Path(command["file"]), command["marker"])
        print(json.dumps({"id": command["id"], "done": {}}), flush=True)


if __name__ == "__main__":
    main()
