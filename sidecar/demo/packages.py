"""Gateways as npm publishes them, installed once into a cache directory."""

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.demo.errors import NpmFailedError, NpmMissingError

NODE_VERSION: Final = "24.15.0"
LATER_NODE_VERSION: Final = "24.16.0"
"""What releases from 2026.8 on ask for, their install script included."""
_FIRST_WITH_ROWS: Final = (2026, 8)
_QUESTION: Final = b"function canRebasePreparedAssistantInTransaction("
"""By this a release with rows asks whether a run may go on behind what others added."""
CACHE_VARIABLE: Final = "OPENCLAW_SIDECAR_CACHE_DIR"
MARKER: Final = ".complete"
PROGRESS_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class GatewayPackage:
    """One installed release, with the Node that runs it.

    Attributes:
        version: The release, as npm names it.
        root: The npm prefix directory.
    """

    version: str
    root: Path

    @property
    def node(self) -> Path:
        """The Node binary."""
        return self.root / "node_modules" / "node" / "bin" / "node"

    @property
    def cli(self) -> Path:
        """The entry point of the gateway's command line."""
        return self.root / "node_modules" / "openclaw" / "openclaw.mjs"

    @property
    def executables(self) -> Path:
        """The directory to put first on PATH."""
        return self.root / "node_modules" / ".bin"

    @property
    def keeps_rows(self) -> bool:
        """Its sessions are rows of a database; of earlier releases, files."""
        return release_month(self.version) >= _FIRST_WITH_ROWS

    @property
    def has_fence(self) -> bool:
        """A change of a session can cost the turn that waits for its model."""
        return not self.keeps_rows or any(_QUESTION in file.read_bytes() for file in self._bundle())

    def _bundle(self) -> Iterator[Path]:
        return (self.cli.parent / "dist").glob("*.*js")

    @property
    def complete(self) -> bool:
        """Whether an install of exactly this has come to its end."""
        return (self.root / MARKER).is_file()

    def problem(self) -> str:
        """What is missing or differs; empty when all is in place."""
        wanted = {"node": node_version(self.version), "openclaw": self.version}
        for path in (self.node, self.cli):
            if not path.is_file():
                return f"there is no {path.relative_to(self.root)}"
        for name, version in wanted.items():
            found = json.loads((self.root / "node_modules" / name / "package.json").read_text()).get("version")
            if found != version:
                return f"{name} is {found}, not {version}"
        return ""


def node_version(version: str) -> str:
    """The Node that a release runs on here."""
    return NODE_VERSION if release_month(version) < _FIRST_WITH_ROWS else LATER_NODE_VERSION


def release_month(version: str) -> tuple[int, int]:
    """Year and month of a release, which its version begins with."""
    year, month = version.split(".")[:2]
    return int(year), int(month)


def default_cache_dir() -> Path:
    """Where gateways are kept: what the environment says, else ``.cache`` below the working directory."""
    return Path(os.environ.get(CACHE_VARIABLE) or ".cache").resolve()


def ensure_gateway(version: str, cache_dir: Path, progress: Callable[[str], None]) -> GatewayPackage:
    """Find a release in the cache, or install it there.

    An install happens in a directory beside the final one and is renamed when it is complete, so an interrupted one
    is never taken for a gateway; a lock file keeps a second process waiting meanwhile.

    Args:
        version: The release, for example ``2026.5.18``.
        cache_dir: The cache; created when missing.
        progress: Gets a line of text every few seconds while there is something to wait for.

    Returns:
        The installed release.

    Raises:
        NpmMissingError: It is not in the cache and there is no npm.
        NpmFailedError: npm failed; carries the end of what it wrote.
    """
    package = GatewayPackage(version, cache_dir / "gateways" / version)
    if package.complete:
        return package
    package.root.parent.mkdir(parents=True, exist_ok=True)
    with _locked(package.root.parent / f".{version}.lock", version, progress):
        if not package.complete:
            if package.root.is_dir() and not package.problem():
                progress(f"openclaw {version}: found in the cache")
            else:
                _install(package, cache_dir, progress)
            (package.root / MARKER).touch()
    return package


@contextmanager
def _locked(path: Path, version: str, progress: Callable[[str], None]) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"openclaw {version}: another process is installing it, waiting")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install(package: GatewayPackage, cache_dir: Path, progress: Callable[[str], None]) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NpmMissingError
    for leftover in package.root.parent.glob(f".{package.version}-*"):  # of installs that were interrupted
        shutil.rmtree(leftover)
    staging = Path(tempfile.mkdtemp(prefix=f".{package.version}-", dir=package.root.parent))
    try:
        (staging / "package.json").write_text('{"private": true}\n')
        log = staging / "install.log"
        node = f"node@{node_version(package.version)}"
        options = ("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=http", f"--cache={cache_dir / 'npm'}")
        scratch = staging / "scratch"
        scratch.mkdir()
        # The package's install script migrates the state of an OpenClaw that this user may really have: not here. Later
        # releases check the Node that runs it, so theirs is there first.
        aside = {"OPENCLAW_STATE_DIR": str(scratch), "OPENCLAW_HOME": str(scratch), "TMPDIR": str(scratch)}
        path = f"{staging / 'node_modules' / '.bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        both = (node, f"openclaw@{package.version}")
        status = 0
        for what in ((node,), both) if node_version(package.version) != NODE_VERSION else (both,):
            with log.open("a") as output:
                process = subprocess.Popen(
                    (npm, "install", *options, *what),
                    cwd=staging,
                    env={**os.environ, **aside, "PATH": path},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                try:
                    status = status or _follow(process, log, package.version, progress)
                finally:
                    _end(process)
        built = GatewayPackage(package.version, staging)
        reason = f"npm ended with status {status}" if status else built.problem()
        if reason:
            raise NpmFailedError(package.version, reason, _last_words(log))
        shutil.rmtree(scratch)
        if package.root.exists():
            shutil.rmtree(package.root)
        staging.rename(package.root)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _follow(process: subprocess.Popen[bytes], log: Path, version: str, progress: Callable[[str], None]) -> int:
    started = time.monotonic()
    progress(f"openclaw {version}: npm is fetching it and Node {node_version(version)} (once, about a minute)")
    while True:
        try:
            status = process.wait(timeout=PROGRESS_SECONDS)
        except subprocess.TimeoutExpired:
            progress(f"openclaw {version}: {time.monotonic() - started:3.0f} s, {_stage(log)}")
        else:
            progress(f"openclaw {version}: npm ended after {time.monotonic() - started:.0f} s")
            return status


def _stage(log: Path) -> str:
    fetched = sum("http fetch" in line or "http cache" in line for line in log.read_text(errors="replace").splitlines())
    unpacked = sum(1 for _ in (log.parent / "node_modules").glob("*/package.json"))
    return f"{fetched} files fetched, {unpacked} packages unpacked"


def _last_words(log: Path, count: int = 15) -> tuple[str, ...]:
    lines = log.read_text(errors="replace").splitlines()
    return tuple(line for line in lines if not line.startswith("npm http"))[-count:]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, 9)
        process.wait()
