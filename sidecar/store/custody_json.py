"""The public JSON of a chain of custody: what the API and the CLI give to other programs."""

from typing import Any

from sidecar.core.custody.files.chain import Chain
from sidecar.store.printable import clean_json
from sidecar.store.public import fields_json, iso_utc, reason_json


def chain_json(chain: Chain, *, watched: bool = True) -> dict[str, Any]:
    """The chain in the form that is promised to other programs. Digests only, no transcript text.

    Args:
        chain: What was found.
        watched: A running sidecar has found it; without one, it rests on what was kept on disk.

    Returns:
        A dictionary of JSON values; offsets and lengths in bytes, times in ISO 8601.
    """
    differences = [fields_json(r) for r in chain.differences]
    known = sum(r.length for r in chain.ranges if r.writer is not None)
    body: dict[str, Any] = clean_json(
        {
            "file": chain.file,
            "exists": chain.fingerprint.exists,
            "size": chain.fingerprint.size,
            "fingerprint": chain.fingerprint.encode(),
            "since": iso_utc(chain.since_ns),
            "watched": watched,
            "problem": chain.problem,
            "verified": {
                "same": not differences and not chain.problem,
                "offset": differences[0]["offset"] if differences else None,
                "differences": differences,
                "settled": chain.settled,
            },
            "known_bytes": known,
            "gaps": [
                {
                    "from": iso_utc(g.from_ns),
                    "to": iso_utc(g.to_ns),
                    "seconds": round((g.to_ns - g.from_ns) / 1e9, 3) if g.to_ns else None,
                    **reason_json(g.reason),
                }
                for g in chain.gaps
            ],
            "ranges": [
                {
                    "offset": r.offset,
                    "length": r.length,
                    "sha256": r.sha256,
                    "grade": r.grade.value,
                    "at": iso_utc(r.at_ns),
                    "writer": None
                    if r.writer is None
                    else {
                        "kind": r.writer.kind.value,
                        "name": r.writer.name,
                        "pid": r.writer.pid,
                        "run_id": r.writer.run_id,
                    },
                }
                for r in chain.ranges
            ],
        }
    )
    return body
