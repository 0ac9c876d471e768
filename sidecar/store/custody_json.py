"""The public JSON of a chain of custody: what the API and the CLI give to other programs."""

from typing import Any

from sidecar.core.custody.files.manifest import Segment
from sidecar.core.custody.gaps import Gap
from sidecar.core.custody.kept import AnyChain
from sidecar.core.custody.rows.chain import RowChain, RowRange
from sidecar.core.facts.span import Unit
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.store.printable import clean_json
from sidecar.store.public import fields_json, iso_utc, reason_json


def chain_json(chain: AnyChain, *, watched: bool = True) -> dict[str, Any]:
    """The chain in the form that is promised to other programs. Digests only, no transcript text.

    Args:
        chain: What was found.
        watched: A running sidecar has found it; without one, it rests on what was kept on disk.

    Returns:
        A dictionary of JSON values; offsets and lengths in bytes, or in rows where ``unit`` says so; times in ISO 8601.
    """
    of_rows = isinstance(chain, RowChain)
    version = chain.version if isinstance(chain, RowChain) else chain.fingerprint
    differences = [fields_json(difference) for difference in chain.differences]
    known = sum(r.length for r in chain.ranges if r.writer is not None)
    body: dict[str, Any] = clean_json(
        {
            "file": chain.file,
            "unit": (Unit.ROWS if of_rows else Unit.BYTES).value,
            "exists": version.exists,
            "size": version.size,
            "version" if of_rows else "fingerprint": version.encode(),
            "since": iso_utc(chain.since_ns),
            "watched": watched,
            "problem": chain.problem,
            "verified": {
                "same": not differences and not chain.problem,
                "offset": differences[0]["offset"] if differences else None,
                "differences": differences,
                "settled": isinstance(chain, RowChain) or chain.settled,
            },
            "known_rows" if of_rows else "known_bytes": known,
            "gaps": [_gap_json(gap) for gap in chain.gaps],
            "ranges": [_range_json(item) for item in chain.ranges],
        }
    )
    return body


def _gap_json(gap: Gap) -> dict[str, Any]:
    return {
        "from": iso_utc(gap.from_ns),
        "to": iso_utc(gap.to_ns),
        "seconds": round((gap.to_ns - gap.from_ns) / NS_PER_SECOND, 3) if gap.to_ns else None,
        **reason_json(gap.reason),
    }


def _range_json(item: Segment | RowRange) -> dict[str, Any]:
    writer = item.writer
    return {
        "offset": item.offset,
        "length": item.length,
        "sha256": item.sha256,
        "grade": item.grade.value,
        "at": iso_utc(item.at_ns),
        "writer": None
        if writer is None
        else {"kind": writer.kind.value, "name": writer.name, "pid": writer.pid, "run_id": writer.run_id},
    }
