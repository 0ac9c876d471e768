"""Builds the OpenTelemetry Collector and the Jaeger of the end-to-end tests, with the Go toolchain, once.

It needs nothing but Python, so that `.ci/run` can begin with it while the environment is being installed:

    python3 tests/servers/gobuild.py

Everything is kept below `.cache/go`. The versions and their hashes are in `otel/go.mod` and `otel/go.sum`. The
latter has the modules of `go.mod` and no others: `go mod tidy` adds what only their tests need, and no build reads.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

_SOURCE: Final = Path(__file__).with_name("otel")
_CACHE: Final = Path(__file__).parents[2] / ".cache" / "go"
_PACKAGES: Final = {"collector": ".", "jaeger": "github.com/jaegertracing/jaeger/cmd/all-in-one"}
HINT: Final = "install Go 1.24.6 or later (https://go.dev/dl) and run: python3 tests/servers/gobuild.py"


class GoBuildError(RuntimeError):
    """A program could not be built; says why and what to do."""


def program(name: str) -> Path:
    """Path of a built program, made first if it is not there (about six minutes on two cores).

    Args:
        name: ``collector`` or ``jaeger``.

    Raises:
        GoBuildError: There is no Go, or it failed.
    """
    target = _CACHE / "bin" / f"{name}-{_state()}"
    if target.exists():
        return target
    go = shutil.which("go")
    if go is None:
        raise GoBuildError(f"{name}: there is no go on PATH; {HINT}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with (_CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second one waits for the first, and finds what that has built
        if not target.exists():
            said = f"building {name} from its published modules, once: some minutes\n"
            if sys.__stderr__ is not None:  # not sys.stderr, which pytest keeps for itself
                sys.__stderr__.write(said)
            _build(go, name, target)
    return target


def _build(go: str, name: str, target: Path) -> None:
    unfinished = target.with_suffix(".unfinished")
    environment = os.environ | {
        "GOPATH": str(_CACHE),
        "GOMODCACHE": str(_CACHE / "mod"),
        "GOCACHE": str(_CACHE / "build"),
        "XDG_CONFIG_HOME": str(_CACHE / "config"),  # go keeps counters of its own there, else in HOME
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -modcacherw -trimpath -buildvcs=false",
        "CGO_ENABLED": "0",
    }
    command = [go, "build", "-o", str(unfinished), _PACKAGES[name]]
    done = subprocess.run(command, cwd=_SOURCE, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        told = "\n".join(done.stderr.splitlines()[-10:])
        raise GoBuildError(f"{name}: go build failed with {done.returncode}; {HINT}\n{told}")
    unfinished.rename(target)


def _state() -> str:
    digest = hashlib.sha256()
    for part in ("go.mod", "go.sum", "main.go"):
        digest.update((_SOURCE / part).read_bytes())
    return digest.hexdigest()[:12]


def main() -> int:
    """Build both. Returns an exit code."""
    try:
        for name in _PACKAGES:
            print(program(name), flush=True)  # noqa: T201 - the output of a program
    except GoBuildError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the output of a program
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
