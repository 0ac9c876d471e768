"""Packages in the cache: complete or not there."""

import json
import tarfile
from pathlib import Path

import pytest

from sidecar.demo.errors import NpmFailedError, NpmMissingError
from tests.compat.packs import ensure_release

VERSION = "2026.1.1"


def _npm(directory: Path, script: str) -> None:
    directory.mkdir()
    npm = directory / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(0o755)


def test_a_package_that_is_not_cached_needs_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NpmMissingError):
        ensure_release(VERSION, tmp_path / "cache")


def test_a_failing_npm_is_quoted_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _npm(tmp_path / "bin", "echo there is no such package >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    with pytest.raises(NpmFailedError, match="no such package"):
        ensure_release(VERSION, tmp_path / "cache")

    assert list((tmp_path / "cache" / "packs").iterdir()) == []


def test_a_package_is_fetched_once_with_what_is_wanted_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "made"
    for name in ("package.json", "dist/chunk.js", "docs/long.md"):
        (made / "package" / name).parent.mkdir(parents=True, exist_ok=True)
        (made / "package" / name).write_text("{}")
    with tarfile.open(tmp_path / "p.tgz", "w:gz") as archive:
        archive.add(made / "package", "package")
    said = json.dumps([{"filename": "p.tgz", "version": VERSION, "integrity": "sha512-x"}])
    _npm(tmp_path / "bin", f"cp {tmp_path / 'p.tgz'} . && echo '{said}' && echo once >> {tmp_path / 'calls'}")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    first, second = (ensure_release(VERSION, tmp_path / "cache") for _ in range(2))

    assert first == second
    assert first.integrity == "sha512-x"
    assert (first.dist / "chunk.js").is_file()
    assert not (first.root / "docs").exists()
    assert (tmp_path / "calls").read_text() == "once\n"
