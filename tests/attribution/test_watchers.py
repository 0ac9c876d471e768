"""The file watchers beside the sidecar in `make bench-attribution`: what they see, and what no report holds."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from benchmarks.attribution_watchers import TOOLS, Made, Watched, Watchers, cannot_tell, table

_APART_SECONDS = 0.2


async def seen(directory: Path, count: int) -> tuple[Watched, ...]:
    """What each tool makes of some appends, one after the other."""
    watchers = Watchers()
    file = directory / "session.jsonl"
    times: list[tuple[int, int]] = []
    async with watchers.watching(directory):
        for number in range(count):
            began_ns = time.monotonic_ns()
            with file.open("ab") as out:
                out.write(b"%d\n" % number)
            times.append((began_ns, time.monotonic_ns()))
            await asyncio.sleep(_APART_SECONDS)
        until_ns = time.monotonic_ns()
    return watchers.compare([Made(str(file), began_ns, ended_ns, until_ns) for began_ns, ended_ns in times])


@pytest.mark.timeout(60)
def test_each_watcher_sees_changes_and_no_report_says_who_made_them_or_what_they_are(tmp_path: Path) -> None:
    found = asyncio.run(seen(tmp_path, 3))

    assert len(found) == len(TOOLS)
    for watched in found:
        if watched.missing:
            assert os.environ.get("CI") != "true", watched.missing
            continue
        assert watched.noticed == 3
        assert 1 <= watched.apart <= 3
        assert watched.reports >= watched.apart
        carried = " ".join(watched.carries).lower()
        assert "path" in carried
        assert not any(word in carried for word in ("pid", "process", "offset", "length", "bytes", "lock", "count"))
    assert len(list(cannot_tell(found))) == sum(not watched.missing for watched in found)
    assert len(list(table(found, 3, 3))) == 3 + len(TOOLS)


def test_a_watcher_that_is_not_installed_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.attribution_watchers.TOOLS", ("inotifywait",))
    monkeypatch.setattr("shutil.which", lambda _name: None)
    (watched,) = asyncio.run(seen(tmp_path, 1))
    assert "apt-get install inotify-tools" in watched.missing
    assert any(watched.missing in line for line in table([watched], 1, 1))
