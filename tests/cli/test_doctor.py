"""`openclaw-sidecar doctor`, on real installs and on copies of them that were edited."""

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.demo.errors import NpmFailedError, NpmMissingError
from sidecar.demo.packages import GatewayPackage, default_cache_dir, ensure_gateway
from tests.cli.conftest import Command

RELEASES: Final = {"2026.5.18": "swap", "2026.7.35": "publish"}
FENCE: Final = "async function createEmbeddedAttemptSessionLockController("

BUNDLE: Final = """
import fs from "node:fs/promises";
async function readSessionFileFingerprint(sessionFile) {
  const { dev, ino, size, mtimeNs, ctimeNs } = await fs.stat(sessionFile, { bigint: true });
  return { exists: true, dev, ino, size, mtimeNs, ctimeNs };
}
function sameSessionFileFingerprint(left, right) {
  return left.size === right.size && left.mtimeNs === right.mtimeNs && left.ctimeNs === right.ctimeNs;
}
async function createEmbeddedAttemptSessionLockController(params) {
  const file = params.lockOptions.sessionFile;
  let held = await params.acquireSessionWriteLock(params.lockOptions);
  let fence;
  let takeover = false;
  async function check() {
    if (!fence) return;
    const current = await readSessionFileFingerprint(file);
    if (sameSessionFileFingerprint(fence, current)) return;
    takeover = true;
    throw new Error("session file changed while embedded prompt lock was released");
  }
  return {
    async releaseForPrompt() {
      fence = await readSessionFileFingerprint(file);
      await held.release();
      held = undefined;
    },
    async withSessionWriteLock(run) {
      if (takeover) throw new Error("takeover");
      const lock = held ?? (await params.acquireSessionWriteLock(params.lockOptions));
      try {
        await check();
        const result = await run();
        fence = await readSessionFileFingerprint(file);
        return result;
      } finally {
        if (!held) await lock.release();
      }
    },
    hasSessionTakeover: () => takeover,
  };
}
"""
"""A MODEL of the oldest fence, in the shape of a bundle."""

RELEASE: Final = "async releaseForPrompt() {"
TRIP: Final = "    takeover = true;\n    throw"
SAME: Final = "sameSessionFileFingerprint(fence, current)"
EDITS: Final = {
    "renamed parameters": ("params.lockOptions.sessionFile", "params.lock.file", "sessionFile|undefined"),
    "a missing function": ("sameSessionFileFingerprint(", "same(", "no adapter of this preload matches"),
    "a missing method": ("hasSessionTakeover:", "tookOver:", "no hasSessionTakeover"),
    "another method": ("async withSessionWriteLock(", "async underLock(", "no withSessionWriteLock"),
    "a changed argument": ("Fingerprint(file)", "Fingerprint(new URL(`file://${file}`))", "reads no fingerprint"),
    "a changed return shape": ("{ exists: true, dev,", "{ found: true, dev,", "reads no fingerprint"),
    "a result in another shape": ("return result;", "return { result };", "has no result"),
    "a method that throws": (RELEASE, f"{RELEASE} throw new Error('not today');", "not today"),
    "a method that hangs": (RELEASE, f"{RELEASE} await new Promise(() => {{}});", "no end after 5 s"),
    "a check that is not made": ("await check();", "await 0;", "an unapproved change is let through"),
    "another comparison": (SAME, "fence.size === current.size", "an approved change is not let through"),
    "a lock that is kept": ("if (!held) await lock.release();", "", "lock is not given back"),
    "a takeover that is not told": (TRIP, "    throw", "no takeover flag"),
    "a module that does not load": ("let fence;", "let fence; let fence;", "does not load"),
}
"""What is replaced, by what, and what the reason says."""


@pytest.fixture(scope="module")
def installed(request: pytest.FixtureRequest) -> Callable[[str], GatewayPackage]:
    """Releases from the cache, or from npm. Without npm a skip, but on CI an error."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    cache = default_cache_dir()

    def show(line: str) -> None:
        with capture.global_and_fixture_disabled():
            sys.stdout.write(f"\n{line}")

    def find(version: str) -> GatewayPackage:
        try:
            return ensure_gateway(version, cache, show)
        except (NpmMissingError, NpmFailedError) as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(f"no gateway to look into: {error}")

    return find


@pytest.fixture
def node(installed: Callable[[str], GatewayPackage]) -> str:
    return str(installed("2026.5.18").node)


def _examine(cli: Command, gateway: Path, node: str) -> tuple[int, dict[str, Any]]:
    done = cli("doctor", "--gateway", str(gateway), "--node", node, "--json")
    assert done.err == ""
    return done.code, done.json()


def _model(directory: Path, source: str) -> Path:
    """A package with a bundle of one module."""
    (directory / "dist").mkdir(parents=True)
    (directory / "package.json").write_text('{"name": "openclaw", "version": "2026.5.18", "type": "module"}')
    (directory / "dist" / "selection-x.js").write_text(source)
    return directory


def _edited(package: GatewayPackage, directory: Path, edit: Callable[[str], str]) -> Path:
    """A copy of a release with one module edited; everything else is linked, not copied."""
    original = package.cli.parent
    copy = directory / "openclaw"
    shutil.copytree(original / "dist", copy / "dist", copy_function=_link)
    (copy / "package.json").write_bytes((original / "package.json").read_bytes())
    (directory / "node_modules").symlink_to(package.root / "node_modules")
    if (original / "node_modules").is_dir():
        (copy / "node_modules").symlink_to(original / "node_modules")
    [module] = [p for p in (copy / "dist").glob("selection-*.js") if FENCE in p.read_text()]
    source = module.read_text()
    module.unlink()
    module.write_text(edit(source))
    assert module.read_text() != source
    return copy


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


@pytest.mark.e2e
@pytest.mark.timeout(300, func_only=True)
@pytest.mark.parametrize("version", RELEASES)
def test_the_adapter_of_a_real_release_works(
    cli: Command, installed: Callable[[str], GatewayPackage], version: str
) -> None:
    package = installed(version)
    code, found = _examine(cli, package.cli, str(package.node))
    assert (code, found["ok"], found["reason"]) == (0, True, "")
    assert (found["version"], found["adapter"], found["tried"]) == (version, *[RELEASES[version]] * 2)
    assert 0 < found["check_ms"] < 2000


REAL_EDITS: Final = {
    "renamed parameters": (r"params\.lockOptions\.sessionFile", "params.lockOptions.file", "self-check: stock"),
    "a missing function": (r"function sameSessionFileFingerprint\(", "function same(", "no adapter|does not load"),
    "a changed return shape": (r"hasSessionTakeover\(\) \{", "$& return {};", "takeover flag"),
    "a method that throws": (r"async releaseForPrompt\(\) \{", "$& throw new Error('not today');", "not today"),
}


@pytest.mark.e2e
@pytest.mark.timeout(300, func_only=True)
@pytest.mark.parametrize("edit", REAL_EDITS)
@pytest.mark.parametrize("version", RELEASES)
def test_an_edited_release_is_a_finding(
    cli: Command, installed: Callable[[str], GatewayPackage], tmp_path: Path, version: str, edit: str
) -> None:
    package = installed(version)
    old, new, reason = REAL_EDITS[edit]
    copy = _edited(package, tmp_path / "copy", lambda source: re.sub(old, lambda m: new.replace("$&", m[0]), source))
    code, found = _examine(cli, copy, str(package.node))
    assert (code, found["ok"], found["adapter"]) == (1, False, "unknown")
    assert re.search(reason, found["reason"]), found["reason"]


def test_the_model_of_a_fence_is_one(cli: Command, node: str, tmp_path: Path) -> None:
    """The tests below could not fail without this one."""
    code, found = _examine(cli, _model(tmp_path / "m", BUNDLE), node)
    assert (code, found["adapter"], found["reason"]) == (0, "swap", "")


@pytest.mark.parametrize("edit", EDITS)
def test_code_that_differs_under_the_same_names_is_a_finding(
    cli: Command, node: str, tmp_path: Path, edit: str
) -> None:
    old, new, reason = EDITS[edit]
    assert old in BUNDLE
    code, found = _examine(cli, _model(tmp_path / "m", BUNDLE.replace(old, new)), node)
    assert (code, found["ok"], found["adapter"]) == (1, False, "unknown")
    assert re.search(reason, found["reason"]), found["reason"]


def test_a_finding_is_told_with_what_follows(cli: Command, node: str, tmp_path: Path) -> None:
    done = cli("doctor", "--gateway", str(_model(tmp_path / "m", BUNDLE.replace("await check();", ""))), "--node", node)
    assert done.code == 1
    assert "unknown (tried: swap)" in done.out
    assert "Update openclaw-sidecar" in done.out


def test_a_release_without_a_fence_needs_nothing_and_no_node(cli: Command, tmp_path: Path) -> None:
    package = _model(tmp_path / "m", "async function runEmbeddedAttempt(params) {}\n")
    done = cli("doctor", "--gateway", str(package), "--node", "/nonexistent")
    assert done.code == 0
    assert "recovery is not needed" in done.out


ROWS: Final = (Path(__file__).parents[1] / "preload" / "models" / "rows.mjs").read_text()


def test_the_question_about_newer_rows_is_tried(cli: Command, node: str, tmp_path: Path) -> None:
    code, found = _examine(cli, _model(tmp_path / "m", ROWS), node)
    assert (code, found["ok"], found["adapter"], found["tried"]) == (0, True, "rebase", "rebase")


def test_a_question_that_is_answered_otherwise_is_a_finding(cli: Command, node: str, tmp_path: Path) -> None:
    loose = ROWS.replace('row.role !== "user" || row.id === admitted', "true")
    code, found = _examine(cli, _model(tmp_path / "m", loose), node)
    assert (code, found["ok"], found["adapter"]) == (1, False, "unknown")
    assert "behind a user's row" in found["reason"]


def test_rows_without_a_question_need_no_recovery(cli: Command, tmp_path: Path) -> None:
    package = _model(tmp_path / "m", "function appendTranscriptEventInTransaction() {}\n")
    done = cli("doctor", "--gateway", str(package), "--node", "/nonexistent")
    assert done.code == 0
    assert "recovery is not needed" in done.out


def test_a_fence_with_other_names_is_a_finding(cli: Command, tmp_path: Path) -> None:
    package = _model(tmp_path / "m", BUNDLE.replace("createEmbeddedAttemptSessionLockController", "makeController"))
    done = cli("doctor", "--gateway", str(package))
    assert done.code == 1
    assert "none of its functions has a name" in done.out


def test_a_bundle_of_something_else_is_a_finding(cli: Command, tmp_path: Path) -> None:
    done = cli("doctor", "--gateway", str(_model(tmp_path / "m", "export {};\n")))
    assert done.code == 1
    assert "nothing of OpenClaw" in done.out


@pytest.mark.parametrize("within", ["", "package.json", "dist", "../..", ".."])
def test_the_package_is_found_from_what_is_named(cli: Command, tmp_path: Path, within: str) -> None:
    package = _model(tmp_path / "prefix" / "node_modules" / "openclaw", "async function runEmbeddedAttempt() {}\n")
    done = cli("doctor", "--gateway", f"{package}/{within}")
    if within == "dist":
        assert (done.code, done.out) == (2, "")
        assert "no OpenClaw is there" in done.err
    else:
        assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("manifest", ["", "[]", "{", '{"name": "other"}'])
def test_what_is_no_openclaw_is_bad_usage(cli: Command, tmp_path: Path, manifest: str) -> None:
    (tmp_path / "package.json").write_text(manifest)
    done = cli("doctor", "--gateway", str(tmp_path))
    assert (done.code, done.out) == (2, "")
    assert "no OpenClaw is there" in done.err


def test_a_path_that_is_not_there_is_bad_usage(cli: Command, tmp_path: Path) -> None:
    done = cli("doctor", "--gateway", str(tmp_path / "nowhere"))
    assert done.code == 2
    assert "there is no such file" in done.err


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo v20.20.2", "too old"),
        ("echo v22.14.0", "too old"),
        ("echo v23.4.0", "too old"),
        ("echo hello", "no Node.js"),
        ("exit 1", "no Node.js"),
    ],
)
def test_a_node_that_cannot_do_it_is_bad_usage(cli: Command, tmp_path: Path, script: str, reason: str) -> None:
    node = tmp_path / "node"
    node.write_text(f"#!/bin/sh\n{script}\n")
    node.chmod(0o755)
    done = cli("doctor", "--gateway", str(_model(tmp_path / "m", BUNDLE)), "--node", str(node))
    assert (done.code, done.out) == (2, "")
    assert reason in done.err


def test_a_node_that_is_not_there_is_bad_usage(cli: Command, tmp_path: Path) -> None:
    done = cli("doctor", "--gateway", str(_model(tmp_path / "m", BUNDLE)), "--node", str(tmp_path / "node"))
    assert done.code == 2
    assert "no such program" in done.err
