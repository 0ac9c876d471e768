"""Single files that are replaced in every way that editors and orchestrators have."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.watch.named import NamedFiles


def in_place(path: Path) -> None:
    path.write_text("new")


def by_rename(path: Path) -> None:
    fresh = path.with_name(".policy.swp")
    fresh.write_text("new")
    fresh.replace(path)


def removed_and_written(path: Path) -> None:
    path.unlink()
    path.write_text("new")


def by_a_link_beside_it(path: Path) -> None:
    """As Kubernetes does it with a ConfigMap: the file is a link into a directory, whose name is a link too."""
    fresh = path.parent / "..2026_2"
    fresh.mkdir()
    (fresh / path.name).write_text("new")
    (path.parent / "..data_tmp").symlink_to(fresh.name)
    os.replace(path.parent / "..data_tmp", path.parent / "..data")  # noqa: PTH105 - a link itself is renamed


@pytest.mark.parametrize("replace", [in_place, by_rename, removed_and_written, by_a_link_beside_it])
def test_a_file_that_is_replaced_is_told_once_when_it_is_done(tmp_path: Path, replace: Callable[[Path], None]) -> None:
    path = tmp_path / "policy.toml"
    (tmp_path / "..2026_1").mkdir()
    (tmp_path / "..2026_1" / path.name).write_text("old")
    (tmp_path / "..data").symlink_to("..2026_1")
    if replace is by_a_link_beside_it:
        path.symlink_to(f"..data/{path.name}")
    else:
        path.write_text("old")

    async def watch() -> list[str]:
        told: asyncio.Queue[str] = asyncio.Queue()
        files = NamedFiles([path], lambda: told.put_nowait(path.read_text()))
        files.start()
        try:
            replace(path)
            seen = [await asyncio.wait_for(told.get(), 90)]
            (tmp_path / "another.toml").write_text("of no interest")
            os.utime(path, follow_symlinks=False)
            seen.append(await asyncio.wait_for(told.get(), 90))
            assert told.empty()
            return seen
        finally:
            files.stop()

    assert asyncio.run(watch()) == ["new", "new"]


def test_a_directory_that_is_not_there_costs_one_line_and_no_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def watch() -> None:
        files = NamedFiles([tmp_path / "no" / "policy.toml"], lambda: None)
        files.start()
        files.stop()

    asyncio.run(watch())
    assert "file_not_watched" in "".join(capsys.readouterr())
