"""How long a verdict takes on files of different size, next to merely reading the file."""

import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from sidecar.core.custody.files.account import FileAccount
from sidecar.core.custody.files.manifest import Manifest
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.content import BytesContent
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.policy.policy import Policy
from sidecar.core.verdict.judge import Evidence, Verdict, judge
from sidecar.watch.reading import take_snapshot

SIZES_BYTES: Final = (100_000, 1_000_000, 10_000_000, 50_000_000)
ROUNDS: Final = 9


def measure_custody() -> Iterator[dict[str, Any]]:
    """Median time to read a file, and to read and judge it after five co-tenant appends."""
    for size in SIZES_BYTES:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "session.jsonl"
            old = (b'{"type":"message","text":"' + b"x" * 1000 + b'"}\n') * (size // 1028)
            added = [b'{"type":"message","n":%d}\n' % n for n in range(5)]
            path.write_bytes(old + b"".join(added))
            trusted = Manifest.baseline(BytesContent(old))
            changes = [_append(n, line) for n, line in enumerate(added)]

            def read(path: Path = path) -> None:
                assert take_snapshot(path).content is not None

            def decide(path: Path = path, trusted: Manifest = trusted, changes: list[Change] = changes) -> None:
                account = FileAccount(trusted, Fingerprint.absent(), changes=tuple(changes))
                evidence = Evidence("run", account.examined(take_snapshot(path)), can_reload=True)
                assert judge(evidence, Policy()).verdict is Verdict.CO_TENANT

            reading, judging = _median_ms(read), _median_ms(decide)
            yield {
                "size_bytes": len(old),
                "read_ms": round(reading, 2),
                "read_and_judge_ms": round(judging, 2),
                "ratio": round(judging / reading, 2),
            }


def _append(number: int, line: bytes) -> Change:
    digest = hashlib.sha256(line).hexdigest()
    writer = Writer(WriterKind.INJECT)
    return Change(str(number), Operation.APPEND, writer, 0, len(line), digest, began=number, ended=number)


def _median_ms(act: Callable[[], None]) -> float:
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        act()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)
