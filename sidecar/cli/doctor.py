"""Try the adapter for an installed OpenClaw, in a process of its own, without a gateway."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sidecar.cli.hook import preload_path
from sidecar.cli.output import print_fields, print_json, print_line
from sidecar.core.errors import SidecarError
from sidecar.core.facts.gateway import Adapter
from sidecar.store.printable import one_line

FIRST_NODE: Final = (22, 15)
"""The first Node.js that the preload can look at modules with; of 23 it is 23.5."""

_MARK: Final = "openclaw-sidecar-doctor "
_LOAD_SECONDS: Final = 120.0
_NODE_SECONDS: Final = 20.0
_FENCE: Final = re.compile(rb"^(?:async )?function createEmbeddedAttemptSessionLockController\(", re.MULTILINE)
_QUESTION: Final = re.compile(rb"^function canRebasePreparedAssistantInTransaction\(", re.MULTILINE)
_ROWS: Final = re.compile(rb"^function appendTranscriptEventInTransaction\(", re.MULTILINE)
_FENCE_WORDS: Final = b"embedded prompt lock was released"
_OPENCLAW: Final = re.compile(rb"^(?:async )?function (?:runEmbeddedAttempt|onInternalDiagnosticEvent)\(", re.MULTILINE)
_OWNED_WRITES: Final = re.compile(rb"^function recordOwnedSessionFileWrite\(", re.MULTILINE)
_RELOAD: Final = b"reloadPromptReleasedSessionFile"

_NO_FENCE: Final = "this release sets no file fence: there is nothing to recover"
_WATCHED: Final = "sessions are in a database, and a run may answer behind newer rows: there is nothing to recover"
_QUESTION_NAMED: Final = "sessions in a database, and a question whether newer rows forbid an answer"
_OTHER_NAMES: Final = "this release has a fence, but none of its functions has a name that the preload knows"
_NO_BUNDLE: Final = "nothing of OpenClaw that the preload knows is in the bundle"
_UNTRIED: Final = {_NO_FENCE: Adapter.NONE, _WATCHED: Adapter.WATCH}


class PackageError(SidecarError, ValueError):
    """What was named is no OpenClaw, or nothing that can run it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the doctor says.

    Attributes:
        version: Of the package, as it says itself.
        package: Its directory.
        node: Version of the Node.js that the adapter was tried on; empty when there was nothing to try.
        fence: The generation of the fence, told from what the bundle contains.
        adapter: What the preload would report.
        tried: The adapter that was tried.
        reason: Why the adapter is what it is; empty when it works.
        check_ms: How long the self-check took.
        ok: Nothing is to be mended.
    """

    version: str
    package: str
    node: str
    fence: str
    adapter: str
    tried: str
    reason: str
    check_ms: int
    ok: bool


def examine(gateway: str, node: str = "node") -> Finding:
    """Look into an installed OpenClaw, and try the adapter for its fence.

    Args:
        gateway: The package's directory, its ``openclaw.mjs``, or a directory above it.
        node: The Node.js to run it on.

    Raises:
        PackageError: There is no such package, or no Node.js that is new enough.
    """
    package = find_package(gateway)
    version = str(_manifest(package).get("version", ""))
    module, fence = _fence_of(package)

    def finding(adapter: str, reason: str, node_version: str = "", tried: str = "", check_ms: int = 0) -> Finding:
        ok = not reason or adapter in {Adapter.NONE, Adapter.WATCH}
        return Finding(version, str(package), node_version, fence, adapter, tried, reason, check_ms, ok)

    if module is None:
        return finding(_UNTRIED.get(fence, Adapter.UNKNOWN).value, fence)
    program = _program(node)
    node_version = _node_version(program)
    said = _try(program, module)
    if "error" in said:
        return finding(Adapter.UNKNOWN.value, one_line(str(said["error"])), node_version)
    reason = one_line(str(said.get("reason", "")))
    check_ms = int(said.get("check_ms", 0))
    return finding(str(said.get("adapter", "")), reason, node_version, str(said.get("tried", "")), check_ms)


def find_package(gateway: str) -> Path:
    """The package's directory.

    Raises:
        PackageError: There is none.
    """
    path = Path(gateway).expanduser()
    if not path.exists():
        raise PackageError(f"--gateway {one_line(gateway)}: there is no such file or directory")
    start = path.resolve() if path.is_dir() else path.resolve().parent
    for candidate in (start, start / "openclaw", start / "node_modules" / "openclaw"):
        if _manifest(candidate).get("name") == "openclaw":
            return candidate
    raise PackageError(f"--gateway {one_line(gateway)}: no OpenClaw is there (no package.json with that name)")


def _manifest(package: Path) -> dict[str, Any]:
    try:
        found = json.loads((package / "package.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _fence_of(package: Path) -> tuple[Path | None, str]:
    """The module that declares the fence, if one does, and the generation of the fence."""
    words = known = rows = False
    for path in _modules(package / "dist"):
        source = path.read_bytes()
        if _FENCE.search(source):
            owned = "a registry of owned writes" if _OWNED_WRITES.search(source) else "no registry of owned writes"
            return path, f"a file fence with {owned} and {'a' if _RELOAD in source else 'no'} reload"
        if _QUESTION.search(source):
            return path, _QUESTION_NAMED
        rows = rows or _ROWS.search(source) is not None
        words = words or _FENCE_WORDS in source
        known = known or _OPENCLAW.search(source) is not None
    if words:
        return None, _OTHER_NAMES
    if rows:
        return None, _WATCHED
    return None, _NO_FENCE if known else _NO_BUNDLE


def _modules(bundle: Path) -> Iterator[Path]:
    """The modules of a bundle, the likely ones first: there are thousands."""
    found = sorted(path for pattern in ("*.js", "*.mjs") for path in bundle.glob(pattern) if path.is_file())
    yield from sorted(found, key=lambda path: not path.name.startswith("selection-"))


def _program(node: str) -> str:
    found = shutil.which(node)
    if found is None:
        raise PackageError(
            f"--node {one_line(node)}: there is no such program; name the Node.js that the gateway runs on"
        )
    return str(Path(found).absolute())


def _node_version(node: str) -> str:
    try:
        run = subprocess.run((node, "--version"), capture_output=True, text=True, timeout=_NODE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PackageError(f"--node {one_line(node)}: it does not run ({type(error).__name__})") from None
    match = re.fullmatch(r"v(\d+)\.(\d+)\.\S+", run.stdout.strip())
    if match is None:
        raise PackageError(f"--node {one_line(node)}: it is no Node.js")
    version = (int(match[1]), int(match[2]))
    if version < FIRST_NODE or (23, 0) <= version < (23, 5):
        raise PackageError(
            f"--node {one_line(node)}: Node.js {match[0]} is too old for the preload, which needs 22.15 or 23.5;"
            " name the Node.js that the gateway runs on"
        )
    return match[0]


def _try(node: str, module: Path) -> dict[str, Any]:
    """Load the module under the preload, and have its controller driven."""
    preload = preload_path()
    with tempfile.TemporaryDirectory(prefix="openclaw-sidecar-doctor-") as directory:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("NODE_", "OPENCLAW_"))}
        # The bundle may make files where it thinks that its state is: not in anybody's.
        aside = dict.fromkeys(("HOME", "OPENCLAW_HOME", "OPENCLAW_STATE_DIR", "TMPDIR"), directory)
        asking = (node, f"--import={preload.as_uri()}", str(preload.with_name("doctor.mjs")))
        try:
            run = subprocess.run(
                (*asking, str(module)),
                env={**kept, **aside},
                cwd=directory,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_LOAD_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"the module with the fence was not loaded within {_LOAD_SECONDS:.0f} s"}
    said = [line for line in run.stdout.splitlines() if line.startswith(_MARK)]
    if not said:
        last = (run.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return {"error": f"Node.js ended with {run.returncode}: {last[:200]}"}
    found: dict[str, Any] = json.loads(said[-1].removeprefix(_MARK))
    return found


def print_finding(finding: Finding, *, as_json: bool) -> None:
    """For people or for programs."""
    if as_json:
        print_json(asdict(finding))
        return
    print_fields(
        (
            ("OpenClaw", f"{finding.version or 'version not known'} in {finding.package}"),
            ("Fence", finding.fence),
            (
                "Adapter",
                finding.adapter + (f" (tried: {finding.tried})" if finding.tried not in {"", finding.adapter} else ""),
            ),
            ("Result", _result(finding)),
        )
    )
    if not finding.ok:
        print_line()
        if finding.node and not finding.tried and "adapter" not in finding.reason:
            print_line("Nothing could be tried. Is it installed as a whole, with its dependencies?")
        else:
            print_line("The preload leaves this gateway untouched: no turn is recovered. Update openclaw-sidecar.")


def _result(finding: Finding) -> str:
    if not finding.ok:
        return finding.reason
    if finding.adapter in {Adapter.NONE, Adapter.WATCH}:
        return "recovery is not needed"
    return f"the adapter works (self-check on Node.js {finding.node}: {finding.check_ms} ms)"
