import os
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.config.checks import SUN_PATH_BYTES, check_settings
from sidecar.config.errors import SocketPathError, StartError, StateDirError
from sidecar.config.settings import Settings

needs_permissions = pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path, data_dir=tmp_path / "data", socket=tmp_path / "s.sock")


def refused(settings: Settings, kind: type[StartError]) -> str:
    with pytest.raises(kind) as caught:
        check_settings(settings)
    said = str(caught.value)
    assert "\n" not in said
    assert "; " in said
    return said


def test_good_settings_pass_and_nothing_is_made(settings: Settings) -> None:
    check_settings(settings)
    assert list(settings.state_dir.iterdir()) == []


def test_a_state_directory_that_is_not_there_is_refused(settings: Settings, tmp_path: Path) -> None:
    said = refused(replace(settings, state_dir=tmp_path / "no\nwhere"), StateDirError)
    assert "no\\x0awhere: there is no such directory; start the gateway once" in said


def test_a_state_directory_that_is_a_file_is_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    assert "is not a directory" in refused(replace(settings, state_dir=tmp_path / "f"), StateDirError)
    assert "Not a directory" in refused(replace(settings, state_dir=tmp_path / "f" / "x"), StateDirError)


def test_a_state_directory_that_is_a_loop_of_links_is_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert "symbolic links" in refused(replace(settings, state_dir=tmp_path / "loop"), StateDirError)


@needs_permissions
def test_a_state_directory_that_is_not_readable_is_refused(settings: Settings, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    assert "not readable" in refused(replace(settings, state_dir=closed), StateDirError)
    assert "not writable" in refused(replace(settings, socket=closed / "s"), SocketPathError)


def test_a_socket_path_that_the_kernel_does_not_take_is_refused(settings: Settings, tmp_path: Path) -> None:
    room = SUN_PATH_BYTES - len(os.fsencode(tmp_path)) - 1
    check_settings(replace(settings, socket=tmp_path / ("x" * room)))
    said = refused(replace(settings, socket=tmp_path / ("x" * (room + 1))), SocketPathError)
    assert "108 bytes, and the kernel takes 107" in said
    assert "OPENCLAW_SIDECAR_SOCKET" in said


def test_a_socket_path_is_measured_in_bytes(settings: Settings, tmp_path: Path) -> None:
    refused(replace(settings, socket=tmp_path / ("é" * 54)), SocketPathError)


def test_a_socket_in_a_directory_that_is_not_there_is_refused(settings: Settings, tmp_path: Path) -> None:
    assert "directory does not exist" in refused(replace(settings, socket=tmp_path / "no" / "s"), SocketPathError)
