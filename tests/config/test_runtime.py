from pathlib import Path

import pytest

from sidecar.config.runtime import RUNTIME_NAME, Runtime, read_runtime


def test_a_running_sidecar_is_found(tmp_path: Path) -> None:
    (tmp_path / RUNTIME_NAME).write_text('{"pid": 7, "http": "127.0.0.1:1", "socket": "/s", "new": true}')
    assert read_runtime(tmp_path) == Runtime(pid=7, http="127.0.0.1:1", socket="/s")


@pytest.mark.parametrize("content", [b"", b"{", b'{"pid": "x"}', b"\xff", b"[]"])
def test_a_file_that_says_nothing_is_no_sidecar(tmp_path: Path, content: bytes) -> None:
    (tmp_path / RUNTIME_NAME).write_bytes(content)
    assert read_runtime(tmp_path) is None


def test_no_file_is_no_sidecar(tmp_path: Path) -> None:
    assert read_runtime(tmp_path / "nowhere") is None
