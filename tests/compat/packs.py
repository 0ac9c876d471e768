"""Packages as npm publishes them, unpacked once into a cache directory: for reading, nothing of them is installed."""

import json
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.demo.errors import NpmFailedError, NpmMissingError

RECORD: Final = "pack.json"
SESSION_MANAGER_PACKAGE: Final = "@earendil-works/pi-coding-agent"
"""Where releases before 2026.5.28 have their session manager from."""


@dataclass(frozen=True, slots=True)
class Pack:
    """One unpacked package.

    Attributes:
        version: As npm names it.
        root: Has its package.json and dist/.
        integrity: The hash that npm has of the package.
    """

    version: str
    root: Path
    integrity: str

    @property
    def dist(self) -> Path:
        """The bundle."""
        return self.root / "dist"


def ensure_release(version: str, cache_dir: Path) -> Pack:
    """Find an OpenClaw release in the cache, or fetch it."""
    return _ensure("openclaw", version, cache_dir / "packs" / version, cache_dir)


def ensure_session_manager(release: Pack, cache_dir: Path) -> Path | None:
    """The module with the session manager of a release from another package; None if it is in the bundle."""
    if any(release.dist.glob("session-manager-*.js")):
        return None
    wanted = json.loads((release.root / "package.json").read_text())["dependencies"][SESSION_MANAGER_PACKAGE]
    root = cache_dir / "packs" / f"pi-coding-agent-{wanted}"
    return _ensure(SESSION_MANAGER_PACKAGE, wanted, root, cache_dir).dist / "core" / "session-manager.js"


def _ensure(name: str, version: str, root: Path, cache_dir: Path) -> Pack:
    """Fetch into a directory beside the final one, which is renamed when it is complete.

    Raises:
        NpmMissingError: It is not in the cache and there is no npm.
        NpmFailedError: npm failed.
    """
    if not (root / RECORD).is_file():
        _fetch(name, version, root, cache_dir)
    record = json.loads((root / RECORD).read_text())
    return Pack(record["version"], root, record["integrity"])


def _fetch(name: str, version: str, root: Path, cache_dir: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NpmMissingError
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as staging:
        found = subprocess.run(
            (npm, "pack", f"{name}@{version}", "--json", "--no-update-notifier", f"--cache={cache_dir / 'npm'}"),
            cwd=staging,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if found.returncode:
            lines = tuple(found.stderr.splitlines()[-15:])
            raise NpmFailedError(version, f"npm pack ended with status {found.returncode}", lines)
        packed = json.loads(found.stdout)[0]
        _unpack(Path(staging) / packed["filename"], Path(staging))
        built = Path(staging) / "package"
        (built / RECORD).write_text(json.dumps({"version": packed["version"], "integrity": packed["integrity"]}))
        try:
            built.rename(root)
        except OSError:  # another process was first
            if not (root / RECORD).is_file():
                raise


def _unpack(archive: Path, target: Path) -> None:
    """Regular files only, and none outside: Python 3.11 has no filter for that before 3.11.4."""
    with tarfile.open(archive) as packed:
        for member in packed:
            wanted = member.name == "package/package.json" or member.name.startswith("package/dist/")
            data = packed.extractfile(member) if wanted and ".." not in member.name.split("/") else None
            if data is not None and member.isfile():
                path = target / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data.read())
