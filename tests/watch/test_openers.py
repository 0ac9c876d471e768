import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.watch.openers import open_for_writing

HOLD = "import sys; f = open(sys.argv[1], sys.argv[2]); print(flush=True); sys.stdin.read()"


@pytest.mark.parametrize(("mode", "found"), [("a", 1), ("r+", 1), ("r", 0)])
def test_a_process_that_has_the_file_open_for_writing_is_found_and_a_reader_is_not(
    tmp_path: Path, mode: str, found: int
) -> None:
    file = tmp_path.resolve() / "a.jsonl"
    file.write_text("a\n")
    with subprocess.Popen(
        (sys.executable, "-c", HOLD, file, mode), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            assert open_for_writing(file, 20.0).count(process.pid) == found
        finally:
            process.kill()


def test_a_search_without_time_ends_at_once(tmp_path: Path) -> None:
    assert open_for_writing(tmp_path / "a.jsonl", -1.0) == []
