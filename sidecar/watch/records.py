"""The shape of a session file's records, for the check of a history (rule 3). No text is kept."""

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from sidecar.core.custody.lineage import Record
from sidecar.watch.reading import MAX_FILE_BYTES, open_without_waiting


class _Line(msgspec.Struct, frozen=True, rename="camel"):
    id: str | None = None
    parent_id: str | msgspec.UnsetType | None = msgspec.UNSET
    type: str = ""
    append_mode: str | None = None
    target_id: str | None = None
    append_parent_id: str | msgspec.UnsetType | None = msgspec.UNSET


_DECODER: Final = msgspec.json.Decoder(_Line)


def _record(line: _Line) -> Record:
    return Record(
        record_id=line.id or "",
        kind=line.type,
        parent_id=None if line.parent_id is msgspec.UNSET else line.parent_id or "",
        side=line.append_mode == "side",
        target_id=line.target_id or "",
        append_parent_id=None if line.append_parent_id is msgspec.UNSET else line.append_parent_id or "",
    )


def parse_records(lines: Iterable[bytes]) -> tuple[list[Record], int]:
    """The records of some lines, and how many of the lines are none."""
    records: list[Record] = []
    strange = 0
    for line in lines:
        if not line.strip():
            continue
        try:
            found = _DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            strange += 1
            continue
        records.append(_record(found))
    return records, strange


def read_records(path: Path) -> tuple[list[Record], int]:
    """The records of a session file, and how many lines are none.

    Raises:
        OSError: The file can't be read.
    """
    return parse_records(read_lines(path))


def read_lines(path: Path) -> list[bytes]:
    """The lines of a session file as it is now, to be parsed later.

    Raises:
        OSError: The file can't be read, or is larger than any that is read.
    """
    with open_without_waiting(path) as file:
        if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        return file.readlines(MAX_FILE_BYTES)
