"""Installing a gateway: with a stand-in for npm, since what matters is what happens around it."""

import json
import os
import threading
from pathlib import Path

import pytest

from sidecar.demo.errors import NpmFailedError, NpmMissingError
from sidecar.demo.packages import CACHE_VARIABLE, NODE_VERSION, GatewayPackage, default_cache_dir, ensure_gateway

VERSION = "2026.5.18"

INSTALL = f"""
echo run >> {{log}}
for part in node/bin openclaw; do mkdir -p node_modules/$part; done
touch node_modules/node/bin/node node_modules/openclaw/openclaw.mjs
echo '{{{{"version": "{NODE_VERSION}"}}}}' > node_modules/node/package.json
echo '{{{{"version": "{VERSION}"}}}}' > node_modules/openclaw/package.json
"""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a line for each time that the stand-in ran."""
    log = tmp_path / "runs"
    log.touch()
    set_npm(tmp_path, INSTALL.format(log=log))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return log


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def set_npm(tmp_path: Path, script: str) -> None:
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir(exist_ok=True)
    npm.write_text(f"#!/bin/sh\n{script}")
    npm.chmod(0o755)


def count(runs: Path) -> int:
    return len(runs.read_text().splitlines())


def visible(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "gateways").iterdir() if not path.name.endswith(".lock"))


def test_a_gateway_is_installed_once(runs: Path, cache: Path) -> None:
    lines: list[str] = []
    package = ensure_gateway(VERSION, cache, lines.append)

    assert package == ensure_gateway(VERSION, cache, lines.append)
    assert package.node.is_file()
    assert package.cli.is_file()
    assert not package.problem()
    assert count(runs) == 1
    assert visible(cache) == [VERSION]
    assert any("npm is fetching" in line for line in lines)


def test_an_install_from_before_there_was_a_marker_is_accepted(runs: Path, cache: Path) -> None:
    package = ensure_gateway(VERSION, cache, print)
    (package.root / ".complete").unlink()

    assert ensure_gateway(VERSION, cache, print).complete
    assert count(runs) == 1


def test_a_directory_with_another_release_is_replaced(runs: Path, cache: Path) -> None:
    package = ensure_gateway(VERSION, cache, print)
    (package.root / ".complete").unlink()
    (package.root / "node_modules" / "openclaw" / "package.json").write_text(json.dumps({"version": "2026.5.19"}))

    assert not ensure_gateway(VERSION, cache, print).problem()
    assert count(runs) == 2


def test_what_an_interrupted_install_left_is_cleared_and_never_used(runs: Path, cache: Path) -> None:
    leftover = cache / "gateways" / f".{VERSION}-abc"
    leftover.mkdir(parents=True)

    ensure_gateway(VERSION, cache, print)

    assert count(runs) == 1
    assert visible(cache) == [VERSION]


def test_the_installs_scripts_stay_out_of_the_users_own_openclaw(runs: Path, cache: Path, tmp_path: Path) -> None:
    set_npm(tmp_path, f'echo "$OPENCLAW_STATE_DIR" > {tmp_path}/state; touch "$TMPDIR/x"\n{INSTALL.format(log=runs)}')

    package = ensure_gateway(VERSION, cache, print)

    state_dir = Path((tmp_path / "state").read_text().strip())
    assert cache in state_dir.parents
    assert not state_dir.exists()
    assert sorted(path.name for path in package.root.iterdir()) == [
        *(".complete", "install.log", "node_modules", "package.json"),
    ]


def test_a_failed_install_leaves_nothing_and_says_what_npm_said(runs: Path, cache: Path, tmp_path: Path) -> None:
    set_npm(tmp_path, "echo npm http fetch GET 404\necho npm error no such version\nexit 3\n")

    with pytest.raises(NpmFailedError, match="status 3\n  npm error no such version") as failure:
        ensure_gateway(VERSION, cache, print)

    assert failure.value.last_lines == ("npm error no such version",)
    assert visible(cache) == []


def test_an_install_without_a_gateway_in_it_is_a_failure(runs: Path, cache: Path, tmp_path: Path) -> None:
    set_npm(tmp_path, "exit 0\n")

    with pytest.raises(NpmFailedError, match="there is no node_modules/node/bin/node"):
        ensure_gateway(VERSION, cache, print)

    assert visible(cache) == []


def test_without_npm_the_error_says_how_to_get_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(NpmMissingError, match=r"Install Node\.js with npm"):
        ensure_gateway(VERSION, cache, print)


def test_two_at_once_install_once(runs: Path, cache: Path) -> None:
    found: list[GatewayPackage] = []
    threads = [threading.Thread(target=lambda: found.append(ensure_gateway(VERSION, cache, print))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [GatewayPackage(VERSION, cache / "gateways" / VERSION)] * 3
    assert count(runs) == 1


def test_the_environment_names_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    assert default_cache_dir() == tmp_path / ".cache"

    monkeypatch.setenv(CACHE_VARIABLE, "elsewhere")
    assert default_cache_dir() == Path("elsewhere").resolve()
