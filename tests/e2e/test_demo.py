"""The demonstration shows what it says, on the real gateway; without npm, on a stand-in that says so."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.demo.companion import command
from sidecar.demo.main import NEWEST, VERSION
from sidecar.demo.packages import GatewayPackage, default_cache_dir


def _demo(tmp_path: Path, *options: str, **environ: str) -> tuple[dict[str, Any], str]:
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    for directory in (home, temporary):
        directory.mkdir()
    done = subprocess.run(
        [command(), "demo", "--once", "--json", *options],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(temporary), **environ},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(home.iterdir()) == []
    assert [p.name for p in temporary.iterdir() if p.name.startswith("ocs-")] == []
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary, done.stderr


def _assert_as_promised(summary: dict[str, Any], story: str) -> None:
    unpatched, guarded, taken_over = summary["scenes"]
    assert summary["as_promised"]
    assert not unpatched["answered"]
    assert (guarded["answered"], guarded["verdict"], guarded["recovery"]) == (True, "co_tenant", "effective")
    assert (guarded["lost_records"], guarded["pages"]) == (0, 0)
    assert (taken_over["answered"], taken_over["verdict"], taken_over["pages"]) == (False, "external", 1)
    assert f"explain {taken_over['incident']}" in story
    assert "/v1/incidents" in story


@pytest.mark.e2e
@pytest.mark.timeout(300, func_only=True)
@pytest.mark.parametrize("version", [VERSION, NEWEST])
def test_the_demo_goes_as_promised_on_the_real_gateway(
    tmp_path: Path, packages: Callable[[str], GatewayPackage], version: str
) -> None:
    packages(version)
    cache = str(default_cache_dir().resolve())
    summary, story = _demo(tmp_path, "--release", version, OPENCLAW_SIDECAR_CACHE_DIR=cache)

    assert (summary["real"], summary["gateway"]) == (True, f"openclaw {version}")
    _assert_as_promised(summary, story)


def test_without_npm_the_demo_uses_a_stand_in_and_says_so(tmp_path: Path) -> None:
    summary, story = _demo(tmp_path, PATH=str(tmp_path), OPENCLAW_SIDECAR_CACHE_DIR=str(tmp_path / "cache"))

    assert (summary["real"], summary["gateway"]) == (False, "stand-in")
    assert "STAND-IN" in story
    _assert_as_promised(summary, story)
